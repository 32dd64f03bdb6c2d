-- The rows that counted requests change or delete: $1 of each kind (see `Kind`), the nth of dealership n modulo $2.
-- They are older than what the lists show, and duplicate no other lead.
-- Run with session_replication_role = replica.
with numbered as (
    select n, pg_temp.numbered('d', n % $2::bigint) as dealership from generate_series(0, $1::bigint - 1) n
), opened_forms as (
    update dealerships set form_origins = '{https://www.example.com}' where id in (select dealership from numbered)
), new_leads as (
    -- 5 is merged into 4, and 7 into 6; 4 and 6 lack some fields that 5 and 7 have.
    insert into leads (dealership_id, id, source, first_name, last_name, email, company, vehicle_of_interest,
                       conversation_count, created_at, updated_at)
    select dealership, pg_temp.numbered(kind, n), 'website', 'Kari', 'Nordmann', 'kari' || kind || n || '@example.com',
           case when kind in ('5', '7') then 'Nordmann AS' end, case when kind in ('5', '7') then 'Volkswagen ID.4' end,
           1, now() - interval '2 years', now() - interval '2 years'
      from numbered, unnest(array['3', '4', '5', '6', '7']) kind
), new_conversations as (
    insert into conversations (dealership_id, id, lead_id, direction, channel, author_kind, body, created_at)
    select dealership, pg_temp.numbered(kind, n), pg_temp.numbered(kind, n), 'inbound', 'email', 'customer',
           'Hei, er bilen fortsatt ledig?', now() - interval '2 years'
      from numbered, unnest(array['3', '4', '5', '6', '7']) kind
)
insert into submissions (dealership_id, id, received_at, content_type, headers, body, content_hash, verdict, reasons)
select dealership, pg_temp.numbered(kind, n), now() - interval '1 day' + n * interval '1 second', 'application/json',
       '{}', convert_to(body, 'UTF8'), sha256(convert_to(body, 'UTF8')), 'held', '{hourly_cap}'
  from numbered, unnest(array['9', 'a']) kind,
       format('{"name": "Ola Nordmann", "email": "ola%s@example.com", "message": "Er bilen ledig?"}', kind || n) body
