-- An enquiry is looked for among its customer's leads: by the keys' indexes, however many of them there are.
set local role norvalt_gate;

-- The half of it that puts an enquiry on a lead.
create or replace function scope.file_enquiry(submission uuid, received_at timestamptz, read jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    here constant uuid := scope.dealership_id();
    new_lead constant uuid := scope.uuid_v7();
    enquiry public.leads := jsonb_populate_record(null::public.leads, read);
    -- In one order, so that two enquiries wait for each other and never in a circle.
    keys constant text[] := array_remove(array['email:' || lower(enquiry.email), 'phone:' || enquiry.phone_e164], null);
    key text;
    open_lead uuid;
begin
    enquiry.attribution := coalesce(enquiry.attribution, '{}');
    enquiry.consent := coalesce(enquiry.consent || jsonb_build_object('given_at', received_at), '{}');
    foreach key in array keys loop
        insert into public.enquiry_keys as k (key, lead_id) values (key, new_lead)
        on conflict on constraint enquiry_keys_pkey do update set lead_id = k.lead_id;
    end loop;
    -- Sorted apart, or PostgreSQL walks all leads by their age where a customer has many.
    with of_customer as materialized (
        select l.id, l.created_at from public.leads l
         where l.dealership_id = here and l.deleted_at is null and l.status not in ('won', 'lost')
           and (l.email_key = lower(enquiry.email) or l.phone_e164 = enquiry.phone_e164)
    )
    select o.id into open_lead from of_customer o order by o.created_at, o.id limit 1;

    if open_lead is null then
        insert into public.leads (id, source, first_name, last_name, email, phone, phone_e164, company, message,
                                  vehicle_of_interest, attribution, consent)
        values (new_lead, 'website', enquiry.first_name, enquiry.last_name, enquiry.email, enquiry.phone,
                enquiry.phone_e164, enquiry.company, enquiry.message, enquiry.vehicle_of_interest,
                enquiry.attribution, enquiry.consent);
    else
        update public.leads l
           set first_name = coalesce(l.first_name, enquiry.first_name),
               last_name = coalesce(l.last_name, enquiry.last_name),
               email = coalesce(l.email, enquiry.email),
               phone = coalesce(l.phone, enquiry.phone),
               phone_e164 = case when l.phone is null then enquiry.phone_e164 else l.phone_e164 end,
               company = coalesce(l.company, enquiry.company),
               vehicle_of_interest = coalesce(l.vehicle_of_interest, enquiry.vehicle_of_interest),
               attribution = enquiry.attribution || l.attribution,
               consent = enquiry.consent || l.consent
         where l.dealership_id = here and l.id = open_lead;
        insert into public.conversations (lead_id, direction, channel, author_kind, body, message_metadata)
        values (open_lead, 'inbound', 'form', 'customer',
                coalesce(enquiry.message, enquiry.vehicle_of_interest, '–'),
                jsonb_strip_nulls(jsonb_build_object('submission_id', submission, 'attribution', enquiry.attribution,
                    'vehicle_of_interest', enquiry.vehicle_of_interest)));
    end if;
    update public.enquiry_keys k set lead_id = coalesce(open_lead, new_lead)
     where k.dealership_id = here and k.key = any (keys);
    update public.submissions s
       set lead_id = coalesce(open_lead, new_lead), made_lead = open_lead is null, filed_at = now()
     where s.dealership_id = here and s.id = submission;
end $$;

reset role;
