-- The public form: every submission as it came, the verdict on it, and what was made of it. The form's own user may
-- call two functions of the gate and touch no table; norvalt_parser reads the submissions of one dealership at a
-- time, for what was left unfiled and for another mapping.
do $$
begin
    if not exists (select from pg_roles where rolname = 'norvalt_parser') then
        begin
            create role norvalt_parser login noinherit;
            alter role norvalt_parser set statement_timeout = '5s';
            alter role norvalt_parser set lock_timeout = '2s';
            alter role norvalt_parser set idle_in_transaction_session_timeout = '10s';
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
end $$;
grant usage on schema public, scope to norvalt_parser;

-- The settings of a dealership's form. Beyond the caps a submission is held for a person to look at, never refused.
alter table dealerships
    -- Exact origins whose scripts may read the form's answer.
    add column form_origins text[] not null default '{}',
    -- Exact origins that a plain form may send the browser on to.
    add column form_redirect_origins text[] not null default '{}',
    add column form_captcha_required boolean not null default false,
    -- Submissions accepted in an hour, and sent by one address in ten minutes.
    add column form_hourly_cap integer not null default 200,
    add column form_address_cap integer not null default 20,
    add constraint dealerships_form_origins_check check (cardinality(form_origins) <= 20),
    add constraint dealerships_form_redirect_origins_check check (cardinality(form_redirect_origins) <= 20),
    add constraint dealerships_form_hourly_cap_check check (form_hourly_cap between 0 and 100000),
    add constraint dealerships_form_address_cap_check check (form_address_cap between 0 and 100);

-- Which field of the dealership's form means what, beside the names that are understood anyway. Versions are added,
-- never changed: a submission says under which one it was read.
create table form_mappings (
    dealership_id uuid not null default scope.dealership_id(),
    version integer not null,
    fields jsonb not null,
    created_by uuid default scope.user_id(),
    created_at timestamptz not null default now(),
    constraint form_mappings_pkey primary key (dealership_id, version),
    constraint form_mappings_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint form_mappings_created_by_fkey foreign key (dealership_id, created_by) references memberships (dealership_id, user_id),
    constraint form_mappings_version_check check (version > 0),
    constraint form_mappings_fields_check check (jsonb_typeof(fields) = 'object'),
    constraint form_mappings_names_check
        check (jsonb_array_length(jsonb_path_query_array(fields, '$.keyvalue()', '{}', true)) <= 100)
);

create table submissions (
    dealership_id uuid not null default scope.dealership_id(),
    -- The sender's receipt.
    id uuid not null default scope.uuid_v7(),
    received_at timestamptz not null default clock_timestamp(),
    content_type text not null,
    headers jsonb not null,
    body bytea not null,
    -- SHA-256 of what was said, whatever the encoding and the order of the fields.
    content_hash bytea not null,
    -- Of the sender's address, under a secret: enough to count by.
    address_hash bytea,
    idempotency_key text,
    verdict text not null,
    reasons text[] not null default '{}',
    reviewed_by uuid,
    reviewed_at timestamptz,
    -- What was read from it, under which mapping (0: the names that are understood anyway), and the lead that it made
    -- or was added to.
    enquiry jsonb,
    mapping_version integer,
    lead_id uuid,
    made_lead boolean not null default false,
    filed_at timestamptz,
    constraint submissions_pkey primary key (dealership_id, id),
    constraint submissions_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint submissions_reviewed_by_fkey foreign key (dealership_id, reviewed_by) references memberships (dealership_id, user_id),
    -- Whoever removes a lead for good removes what it was made of.
    constraint submissions_lead_fkey foreign key (dealership_id, lead_id) references leads (dealership_id, id) on delete cascade,
    constraint submissions_idempotency_key_key unique (dealership_id, idempotency_key),
    constraint submissions_verdict_check check (verdict in ('accepted', 'held', 'spam')),
    constraint submissions_filed_check check ((filed_at is null) = (lead_id is null)),
    constraint submissions_headers_check check (jsonb_typeof(headers) = 'object'),
    constraint submissions_enquiry_check check (jsonb_typeof(enquiry) = 'object')
);
create index submissions_received_idx on submissions (dealership_id, received_at, id);
create index submissions_verdict_idx on submissions (dealership_id, verdict, received_at, id);
create index submissions_content_idx on submissions (dealership_id, content_hash, received_at);
create index submissions_address_idx on submissions (dealership_id, address_hash, received_at);
create index submissions_lead_idx on submissions (dealership_id, lead_id);
create index submissions_unfiled_idx on submissions (dealership_id, received_at) where verdict = 'accepted' and filed_at is null;

-- The open lead that the next enquiry from an e-mail address or a phone number belongs to. The key keeps two
-- enquiries of the same instant from making two leads; whether the lead is still open is asked when it is used.
create table enquiry_keys (
    dealership_id uuid not null default scope.dealership_id(),
    key text collate "C" not null,
    lead_id uuid not null,
    constraint enquiry_keys_pkey primary key (dealership_id, key),
    constraint enquiry_keys_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint enquiry_keys_lead_fkey foreign key (dealership_id, lead_id) references leads (dealership_id, id)
        on delete cascade deferrable initially deferred
);
create index enquiry_keys_lead_idx on enquiry_keys (dealership_id, lead_id);

-- An enquiry that is added to a lead is a message of the customer's.
alter table conversations
    drop constraint conversations_channel_check,
    add constraint conversations_channel_check check (channel in ('email', 'sms', 'facebook', 'phone', 'note', 'form')),
    add constraint conversations_form_check check (channel <> 'form' or direction = 'inbound');

alter table form_mappings enable row level security;
alter table form_mappings force row level security;
create policy form_mappings_member on form_mappings to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()) and (select scope.role()) = 'admin'
                and created_by = (select scope.user_id()));
create policy form_mappings_parser on form_mappings to norvalt_parser
    using (dealership_id = (select scope.dealership_id())) with check (false);
create policy form_mappings_gate on form_mappings to norvalt_gate
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

-- What the public sent may be anybody's, so it is for those who see every lead.
alter table submissions enable row level security;
alter table submissions force row level security;
create policy submissions_member on submissions to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id()) and (select scope.sees_all_leads()))
    with check (dealership_id = (select scope.dealership_id()) and (select scope.sees_all_leads()));
create policy submissions_parser on submissions to norvalt_parser
    using (dealership_id = (select scope.dealership_id())) with check (false);
create policy submissions_gate on submissions to norvalt_gate
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

alter table enquiry_keys enable row level security;
alter table enquiry_keys force row level security;
create policy enquiry_keys_gate on enquiry_keys to norvalt_gate
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

-- An admin sets the form; nobody else changes a dealership but Clerk.
create policy dealerships_settings on dealerships as restrictive for update to norvalt_writer
    using ((select scope.role()) = 'admin') with check ((select scope.role()) = 'admin');

-- The gate files enquiries, in the dealership whose scope was entered and no other.
create policy conversations_gate on conversations to norvalt_gate
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

grant select, insert (version, fields) on form_mappings to norvalt_writer;
grant select on form_mappings to norvalt_reader, norvalt_parser, norvalt_gate;
grant select on submissions to norvalt_reader, norvalt_writer, norvalt_parser, norvalt_gate;
grant update (verdict, reviewed_by, reviewed_at) on submissions to norvalt_writer;
grant insert, update on submissions to norvalt_gate;
grant select, insert, update on enquiry_keys to norvalt_gate;
grant insert (id, source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_of_interest, attribution,
              consent),
      select, update (first_name, last_name, email, phone, phone_e164, company, message, vehicle_of_interest, attribution,
                      consent, first_human_response_at, first_ai_response_at, conversation_count) on leads to norvalt_gate;
grant insert (lead_id, direction, channel, author_kind, body, message_metadata), select, update (body)
    on conversations to norvalt_gate;
grant select (id, name, slug, country, subscription_tier, subscription_status, form_origins, form_redirect_origins,
              form_captcha_required, form_hourly_cap, form_address_cap) on dealerships to norvalt_reader, norvalt_writer;
grant update (form_origins, form_redirect_origins, form_captcha_required, form_hourly_cap, form_address_cap, updated_at)
    on dealerships to norvalt_writer;

-- The form's user touches no table any more.
revoke all on leads, idempotency_keys from norvalt_intake;
drop policy leads_intake on leads;
drop policy idempotency_keys_intake on idempotency_keys;

set local role norvalt_gate;

-- What a form's page and its sender's browser have to know; only within the form's scope.
create function scope.form_settings() returns table (origins text[], captcha_required boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select d.form_origins, d.form_captcha_required from public.dealerships d where d.id = scope.dealership_id()
$$;

-- Stores what a form sent, as it came, and judges it: spam by the signs found in it, held where something is odd or
-- the caps are reached, else accepted. What was said within the last five minutes is the same submission, and so is
-- what comes with the same key; the better of the two verdicts counts, for a person whose captcha had run out tries
-- again. Only an address that floods is turned away, and nothing of it is stored.
-- The outcome is stored, repeated, key_reused or flood.
create function scope.receive_submission(
    sent_type text, sent_headers jsonb, sent_body bytea, hash bytea, sender bytea, repeat_key text,
    spam_signs text[], oddities text[], captcha text, captcha_host text, origin text, next_origin text)
returns table (outcome text, receipt_id uuid, origin_is_allowed boolean, next_is_allowed boolean,
               mapping_version integer, mapping jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    here constant uuid := scope.dealership_id();
    -- Submissions of one address in ten minutes.
    flood constant integer := 100;
    verdicts constant text[] := array['accepted', 'held', 'spam'];
    dealership public.dealerships;
    same record;
    by_sender bigint;
    judged text;
begin
    select * into strict dealership from public.dealerships d where d.id = here;
    origin_is_allowed := coalesce(origin = any (dealership.form_origins), false);
    next_is_allowed := coalesce(next_origin = any (dealership.form_redirect_origins), false);
    select m.version, m.fields into mapping_version, mapping from public.form_mappings m
     where m.dealership_id = here order by m.version desc limit 1;

    select count(*) into by_sender
      from (select from public.submissions s
             where s.dealership_id = here and s.address_hash = sender and s.received_at > now() - interval '10 minutes'
             limit flood) recent;
    if captcha = 'failed' then
        spam_signs := array_append(spam_signs, 'captcha_failed');
    elsif captcha = 'passed' and dealership.form_origins <> '{}' and not exists (
              select from unnest(dealership.form_origins) o
               where split_part(split_part(o, '://', 2), ':', 1) = captcha_host) then
        spam_signs := array_append(spam_signs, 'captcha_of_another_site');
    elsif captcha = 'unavailable' then
        oddities := array_append(oddities, 'captcha_unavailable');
    elsif captcha = 'absent' and dealership.form_captcha_required then
        oddities := array_append(oddities, 'captcha_missing');
    end if;
    if by_sender >= dealership.form_address_cap then
        oddities := array_append(oddities, 'address_cap');
    end if;
    if dealership.form_hourly_cap <= (
        select count(*) from (select from public.submissions s
                               where s.dealership_id = here and s.verdict = 'accepted'
                                 and s.received_at > now() - interval '1 hour'
                               limit dealership.form_hourly_cap) recent) then
        oddities := array_append(oddities, 'hourly_cap');
    end if;
    judged := case when spam_signs <> '{}' then 'spam' when oddities <> '{}' then 'held' else 'accepted' end;

    -- A copy of the same instant waits here for the first one's commit.
    perform pg_advisory_xact_lock(hashtextextended(here::text || encode(hash, 'hex'), 1));
    select s.id, s.content_hash into same from public.submissions s
     where s.dealership_id = here and s.idempotency_key = repeat_key;
    if not found then
        select s.id, s.content_hash into same from public.submissions s
         where s.dealership_id = here and s.content_hash = hash and s.received_at > now() - interval '5 minutes'
         order by s.received_at desc limit 1;
    end if;
    if found then
        outcome := case when same.content_hash = hash then 'repeated' else 'key_reused' end;
        receipt_id := same.id;
        update public.submissions s set verdict = judged, reasons = spam_signs || oddities
         where outcome = 'repeated' and s.dealership_id = here and s.id = same.id and s.reviewed_by is null
           and s.filed_at is null and array_position(verdicts, judged) < array_position(verdicts, s.verdict)
           and not s.reasons && array['no_contact', 'not_filed'];
        return next;
        return;
    elsif by_sender >= flood then
        outcome := 'flood';
        return next;
        return;
    end if;

    insert into public.submissions (content_type, headers, body, content_hash, address_hash, idempotency_key, verdict, reasons)
    values (sent_type, sent_headers, sent_body, hash, sender, repeat_key, judged, spam_signs || oddities)
    on conflict on constraint submissions_idempotency_key_key do nothing
    returning id into receipt_id;
    -- Another body took the key in this very instant.
    outcome := case when receipt_id is null then 'key_reused' else 'stored' end;
    return next;
end $$;

-- Keeps what was read from a submission and, if it is accepted, files it: on the open lead of the same e-mail address
-- or phone number, whose blanks it fills and where nothing is overwritten, else on a new one. Without either it is held
-- instead, and so is what cannot be filed, unless a person has said that it is to be filed. What is filed stays as it is.
create function scope.file_submission(submission uuid, read jsonb, read_under integer) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    here constant uuid := scope.dealership_id();
    received record;
    problem text;
begin
    select s.verdict, s.received_at, s.reviewed_by is not null as is_reviewed into received from public.submissions s
     where s.dealership_id = here and s.id = submission and s.filed_at is null for update;
    if not found then
        return;
    end if;
    update public.submissions s set enquiry = read, mapping_version = read_under
     where s.dealership_id = here and s.id = submission;
    if received.verdict <> 'accepted' then
        return;
    elsif received.is_reviewed then
        perform scope.file_enquiry(submission, received.received_at, read);
        return;
    elsif read ?| array['email', 'phone'] then
        begin
            perform scope.file_enquiry(submission, received.received_at, read);
            return;
        exception when integrity_constraint_violation or data_exception then
            problem := 'not_filed';
        end;
    else
        problem := 'no_contact';
    end if;
    update public.submissions s set verdict = 'held', reasons = array_append(s.reasons, problem)
     where s.dealership_id = here and s.id = submission;
end $$;

-- The half of it that puts an enquiry on a lead.
create function scope.file_enquiry(submission uuid, received_at timestamptz, read jsonb) returns void
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
    select l.id into open_lead from public.leads l
     where l.dealership_id = here and l.deleted_at is null and l.status not in ('won', 'lost')
       and (l.email_key = lower(enquiry.email) or l.phone_e164 = enquiry.phone_e164)
     order by l.created_at, l.id limit 1;

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

-- Files a submission that was read anew, under another mapping. Of a lead that it made, the fields follow that are
-- still as it made them; of one that it was added to, the blanks; what a person has changed since stays. What was
-- held for want of a contact, and has one now, is accepted.
create function scope.refile_submission(submission uuid, read jsonb, read_under integer) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    here constant uuid := scope.dealership_id();
    received public.submissions;
    was public.leads;
    is_now public.leads := jsonb_populate_record(null::public.leads, read);
begin
    select * into received from public.submissions s
     where s.dealership_id = here and s.id = submission for update;
    if not found then
        return;
    elsif received.filed_at is null then
        update public.submissions s set verdict = 'accepted', reasons = '{}'
         where s.dealership_id = here and s.id = submission and s.verdict = 'held' and s.reviewed_by is null
           and s.reasons <@ array['no_contact', 'not_filed'];
        perform scope.file_submission(submission, read, read_under);
        return;
    end if;
    was := jsonb_populate_record(null::public.leads, received.enquiry);
    update public.leads l
       set first_name = case when received.made_lead and l.first_name is not distinct from was.first_name
                             then is_now.first_name else coalesce(l.first_name, is_now.first_name) end,
           last_name = case when received.made_lead and l.last_name is not distinct from was.last_name
                            then is_now.last_name else coalesce(l.last_name, is_now.last_name) end,
           email = case when received.made_lead and l.email is not distinct from was.email
                        then is_now.email else coalesce(l.email, is_now.email) end,
           phone = case when received.made_lead and l.phone is not distinct from was.phone
                        then is_now.phone else coalesce(l.phone, is_now.phone) end,
           phone_e164 = case when received.made_lead and l.phone is not distinct from was.phone or l.phone is null
                             then is_now.phone_e164 else l.phone_e164 end,
           company = case when received.made_lead and l.company is not distinct from was.company
                          then is_now.company else coalesce(l.company, is_now.company) end,
           message = case when received.made_lead and l.message is not distinct from was.message
                          then is_now.message else l.message end,
           vehicle_of_interest = case when received.made_lead and l.vehicle_of_interest is not distinct from was.vehicle_of_interest
                                      then is_now.vehicle_of_interest
                                      else coalesce(l.vehicle_of_interest, is_now.vehicle_of_interest) end,
           attribution = case when received.made_lead and l.attribution = coalesce(was.attribution, '{}')
                              then coalesce(is_now.attribution, '{}')
                              else coalesce(is_now.attribution, '{}') || l.attribution end,
           consent = case when received.made_lead and l.consent - 'given_at' = coalesce(was.consent, '{}')
                          then coalesce(is_now.consent || jsonb_build_object('given_at', received.received_at), '{}')
                          else coalesce(is_now.consent, '{}') || l.consent end
     where l.dealership_id = here and l.id = received.lead_id and l.deleted_at is null;
    update public.conversations c set body = coalesce(is_now.message, is_now.vehicle_of_interest, '–')
     where c.dealership_id = here and c.lead_id = received.lead_id and c.channel = 'form'
       and c.message_metadata->>'submission_id' = submission::text
       and c.body = coalesce(was.message, was.vehicle_of_interest, '–');
    update public.submissions s set enquiry = read, mapping_version = read_under
     where s.dealership_id = here and s.id = submission;
exception when integrity_constraint_violation or data_exception then
    -- A lead without any contact is none: it stays as it was read before.
    return;
end $$;

-- What a submission has become, as far as it is the sender's word: for showing what another mapping would change.
create function scope.picture_of_submission(submission uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_strip_nulls(jsonb_build_object(
               'verdict', s.verdict, 'first_name', l.first_name, 'last_name', l.last_name, 'email', l.email,
               'phone', l.phone, 'company', l.company, 'vehicle_of_interest', l.vehicle_of_interest,
               'message', case when s.made_lead then l.message else c.body end,
               'attribution', nullif(l.attribution, '{}'), 'consent', nullif(l.consent - 'given_at', '{}')))
      from public.submissions s
      left join public.leads l on l.dealership_id = s.dealership_id and l.id = s.lead_id and l.deleted_at is null
      left join public.conversations c on c.dealership_id = s.dealership_id and c.lead_id = s.lead_id
                                      and c.channel = 'form' and c.message_metadata->>'submission_id' = s.id::text
     where s.dealership_id = scope.dealership_id() and s.id = submission
$$;

-- Enters the scope of the parser: the submissions and mappings of one dealership, or of none.
create function scope.enter_parsing(dealership uuid) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if dealership is not null
       and not exists (select from public.dealerships d where d.id = dealership and d.deleted_at is null) then
        raise exception 'no such dealership' using errcode = 'NV005';
    end if;
    perform set_config('norvalt.dealership_id', coalesce(dealership::text, ''), true);
    return dealership;
end $$;

-- The dealerships with an accepted submission that nobody has filed in the minute since it came; one after the other,
-- for the gate sees one at a time.
create function scope.dealerships_to_parse() returns setof uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    dealership uuid;
begin
    for dealership in select d.id from public.dealerships d where d.deleted_at is null loop
        perform set_config('norvalt.dealership_id', dealership::text, true);
        if exists (select from public.submissions s
                    where s.dealership_id = dealership and s.verdict = 'accepted' and s.filed_at is null
                      and s.received_at < now() - interval '1 minute') then
            return next dealership;
        end if;
    end loop;
end $$;

revoke execute on function scope.form_settings, scope.receive_submission, scope.file_submission, scope.file_enquiry,
    scope.refile_submission, scope.picture_of_submission, scope.enter_parsing, scope.dealerships_to_parse from public;
grant execute on function scope.form_settings, scope.receive_submission to norvalt_intake;
grant execute on function scope.file_submission to norvalt_intake, norvalt_parser, norvalt_writer;
grant execute on function scope.refile_submission, scope.picture_of_submission, scope.enter_parsing,
    scope.dealerships_to_parse to norvalt_parser;

reset role;
