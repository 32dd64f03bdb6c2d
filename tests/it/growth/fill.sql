-- Every table that a request names gets so many rows that a sequential scan costs more than an index: automation_rules
-- is the one that none does.
insert into dealerships (clerk_org_id, name) select 'org_more_' || i, 'More ' || i from generate_series(1, 4) i;
alter table leads disable trigger user;
alter table conversations disable trigger user;

-- The leads of six dealerships, each of a customer of its own, and the enquiries that they came with.
insert into leads (dealership_id, source, status, first_name, last_name, email, phone_e164, company, assigned_to,
                   created_at, updated_at)
select d.id, case when i % 200 = 0 then 'sms' else 'website' end, case when i % 200 = 0 then 'contacted' else 'new' end,
       'Fornavn' || i, 'Etternavn' || i, 'kunde' || i || '@example.no', '+474' || lpad(i::text, 7, '0'), 'Firma ' || i,
       (select user_id from memberships m where m.dealership_id = d.id and role = 'sales_rep' and i % 200 = 0),
       now() - i * interval '1 minute', now() - i * interval '1 minute'
  from dealerships d, generate_series(1, 2000) i;
insert into enquiry_keys (dealership_id, key, lead_id)
select dealership_id, 'email:' || email_key, id from leads where email_key like 'kunde%';
insert into submissions (dealership_id, content_type, headers, body, content_hash, verdict, received_at, lead_id,
                         filed_at)
select dealership_id, 'application/json', '{}', '{}', sha256(email::bytea), 'accepted', created_at, id, created_at
  from leads where email_key like 'kunde%' and source = 'website';
insert into submissions (dealership_id, content_type, headers, body, content_hash, verdict, received_at)
select dealership_id, 'application/json', '{}', '{}', sha256(email::bytea), 'spam', created_at
  from leads where email_key like 'kunde%' and source = 'sms';

-- A thousand of one customer, the newest, and a message on every lead.
insert into leads (dealership_id, source, first_name, last_name, email, phone_e164, vehicle_of_interest, created_at,
                   updated_at)
select d.id, 'website', 'Test', 'Testesen', 'test@example.no', '+4722222222', 'Bil' || i, now(), now()
  from dealerships d, generate_series(1, 1000) i;
insert into conversations (dealership_id, lead_id, direction, channel, author_kind, body, created_at)
select dealership_id, id, 'inbound', 'email', 'customer', 'Hei', created_at from leads;
alter table leads enable trigger user;
alter table conversations enable trigger user;

insert into vehicles (dealership_id, make, model)
select d.id, 'Tesla', 'Model ' || i from dealerships d, generate_series(1, 500) i;
insert into form_mappings (dealership_id, version, fields)
select d.id, i, '{}' from dealerships d, generate_series(1, 2000) i;
insert into idempotency_keys (dealership_id, caller, route, key, request_hash)
select d.id, u.id, 'create-lead', 'old-' || i, '' from dealerships d, users u, generate_series(1, 500) i;

-- At each of the six a hundred more have worked. The policies look through a dealership's people, who are never many.
insert into users (clerk_user_id) select 'user_more_' || i from generate_series(1, 1000) i;
insert into memberships (dealership_id, user_id, role, role_at)
select d.id, u.id, 'manager', now()
  from dealerships d, (select id from users where clerk_user_id like 'user\_more\_%' limit 100) u;
insert into merges (dealership_id, id, survivor_id, merged_id, filled, conversation_ids, survivor_before, merged_before,
                    created_by)
select dealership_id, scope.uuid_v7(), other, id, '{}', '{}', '{}', '{}',
       (select user_id from memberships m where m.dealership_id = l.dealership_id limit 1)
  from (select dealership_id, id, lag(id) over (partition by dealership_id order by id) as other
          from leads where email_key like 'kunde%') l
 where other is not null;

-- A thousand dealerships that have one member and nothing else, and what Clerk has told of.
insert into dealerships (clerk_org_id, name) select 'org_other_' || i, 'Other ' || i from generate_series(1, 1000) i;
insert into memberships (dealership_id, user_id, role, role_at)
select d.id, u.id, 'admin', now()
  from dealerships d join users u on u.clerk_user_id = replace(d.clerk_org_id, 'org_other_', 'user_more_');
insert into webhook_inbox (provider, message_id, payload, clerk_user_id)
select 'clerk', 'msg_more_' || i, '{}', 'user_more_' || i % 1000 from generate_series(1, 5000) i;
insert into clerk_tombstones (clerk_id, deleted_at) select 'user_gone_' || i, now() from generate_series(1, 5000) i;
analyze;
