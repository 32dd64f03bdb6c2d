given as materialized (
    select r.*, lower(r.email) as email_key, null::text as lead
      from jsonb_to_recordset($1) as r(row_number int4, id uuid, source text, first_name text, last_name text,
                                       email text, phone text, phone_e164 text, company text, message text,
                                       vehicle_of_interest text)
), beside as (
    select * from given
    union all
    select null, null, l.source, l.first_name, l.last_name, l.email, l.phone, l.phone_e164, l.company, l.message,
           l.vehicle_of_interest, l.email_key, l.id::text
      from leads l
     where l.deleted_at is null and (l.email_key = any ($2::text[]) or l.phone_e164 = any ($3::text[]))
    union all
    select null, null, l.source, l.first_name, l.last_name, null, l.phone, null, l.company, l.message,
           l.vehicle_of_interest, null, l.id::text
      from leads l
     where l.deleted_at is null and l.email_key is null and l.phone_e164 is null
       and exists (select from given g where g.email is null and g.phone_e164 is null)
), keyed as (
    select b.*,
           case when b.email is null and b.phone_e164 is null
                then row(b.source, b.first_name, b.last_name, b.phone, b.company, b.message,
                         b.vehicle_of_interest)::text end as content
      from beside b
), judged as materialized (
    select k.*,
           coalesce(case when k.email_key is not null then min(k.lead) over by_email end,
                    case when k.phone_e164 is not null then min(k.lead) over by_phone end,
                    case when k.content is not null then min(k.lead) over by_content end)::uuid as lead_id,
           least(case when k.email_key is not null then min(k.row_number) over by_email end,
                 case when k.phone_e164 is not null then min(k.row_number) over by_phone end,
                 case when k.content is not null then min(k.row_number) over by_content end) as first_row
      from keyed k
    window by_email as (partition by k.email_key), by_phone as (partition by k.phone_e164),
           by_content as (partition by k.content)
), duplicates as (
    select row_number, lead_id, first_row from judged
     where row_number is not null and (lead_id is not null or first_row < row_number)
)