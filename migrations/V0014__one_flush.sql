-- An enquiry is received and filed in one network flush: the form's function names the submission, so that it can send
-- the second statement before the first has answered, and guesses the mapping, which is looked at here.
set local role norvalt_gate;

drop function scope.receive_submission;

-- Stores what a form sent, as it came, and judges it: spam by the signs found in it, held where something is odd or
-- the caps are reached, else accepted. What was said within the last five minutes is the same submission, and so is
-- what comes with the same key; the better of the two verdicts counts, for a person whose captcha had run out tries
-- again. Only an address that floods is turned away, and nothing of it is stored.
-- The outcome is stored, repeated, key_reused or flood.
create function scope.receive_submission(
    sent_type text, sent_headers jsonb, sent_body bytea, hash bytea, sender bytea, repeat_key text,
    spam_signs text[], oddities text[], captcha text, captcha_host text, origin text, next_origin text,
    submission uuid default scope.uuid_v7())
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

    insert into public.submissions (id, content_type, headers, body, content_hash, address_hash, idempotency_key, verdict, reasons)
    values (submission, sent_type, sent_headers, sent_body, hash, sender, repeat_key, judged, spam_signs || oddities)
    on conflict on constraint submissions_idempotency_key_key do nothing
    returning id into receipt_id;
    -- Another body took the key in this very instant.
    outcome := case when receipt_id is null then 'key_reused' else 'stored' end;
    return next;
end $$;

revoke execute on function scope.receive_submission from public;
grant execute on function scope.receive_submission to norvalt_intake;

-- Keeps what was read from a submission and, if it is accepted, files it: on the open lead of the same e-mail address
-- or phone number, whose blanks it fills and where nothing is overwritten, else on a new one. Without either it is held
-- instead, and so is what cannot be filed, unless a person has said that it is to be filed. What is filed stays as it is.
-- Nothing is read under another mapping than today's: whoever does it knew an older one, and it is read once more.
create or replace function scope.file_submission(submission uuid, read jsonb, read_under integer) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    here constant uuid := scope.dealership_id();
    received record;
    problem text;
begin
    if read_under <> coalesce((select max(m.version) from public.form_mappings m where m.dealership_id = here), 0) then
        return;
    end if;
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

reset role;
