-- The sum of the migrations: what a database looks like when all of them have run. Nothing runs this file;
-- `tests/it/migrations.rs` loads it into an empty database and compares the two catalogs, so change it
-- together with every migration.

-- The users that functions log in as, each with the narrowest grants, and norvalt_gate, which nobody
-- logs in as: it owns the few functions that must see past the policies (see V0004).
-- Users belong to the whole cluster, so a neighbouring database may have made them already or be making
-- them now. Passwords are no migration's business: `cargo dev migrate` or the deployment sets them.
do $$
declare
    login text;
begin
    foreach login in array array['norvalt_reader', 'norvalt_writer', 'norvalt_provisioner', 'norvalt_intake',
                               'norvalt_parser'] loop
        if not exists (select from pg_roles where rolname = login) then
            begin
                execute format('create role %I login noinherit', login);
                execute format('alter role %I set statement_timeout = %L', login, '5s');
                execute format('alter role %I set lock_timeout = %L', login, '2s');
                execute format('alter role %I set idle_in_transaction_session_timeout = %L', login, '10s');
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = 'norvalt_gate') then
        begin
            create role norvalt_gate nologin noinherit;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    -- Whoever migrates must be able to make functions in the gate's name. A superuser always can; from version 16
    -- on, having made the role is not enough.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        grant norvalt_gate to current_user;
    end if;
end $$;

grant usage on schema public to norvalt_reader, norvalt_writer, norvalt_provisioner, norvalt_intake, norvalt_parser, norvalt_gate;

-- The scope: the transaction-local settings under which every statement runs. The policies read it
-- through these functions only, so that how it is carried can change in one place.
-- After the transaction that set it a setting is '', not NULL: hence nullif.
create schema scope;
grant usage on schema scope to norvalt_reader, norvalt_writer, norvalt_provisioner, norvalt_intake, norvalt_parser;
grant usage, create on schema scope to norvalt_gate;

create function scope.dealership_id() returns uuid language sql stable parallel safe
    return nullif(current_setting('norvalt.dealership_id', true), '')::uuid;

create function scope.user_id() returns uuid language sql stable parallel safe
    return nullif(current_setting('norvalt.user_id', true), '')::uuid;

create function scope.role() returns text language sql stable parallel safe
    return nullif(current_setting('norvalt.role', true), '');

-- Admins and managers see every lead of their dealership, a sales rep the ones assigned to them.
create function scope.sees_all_leads() returns boolean language sql stable parallel safe
    return coalesce(scope.role() in ('admin', 'manager'), false);

-- Clerk's webhooks belong to no dealership: they write dealerships, users and memberships.
create function scope.is_provisioning() returns boolean language sql stable parallel safe
    return coalesce(current_setting('norvalt.provisioning', true) = 'on', false);

-- A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random; new rows land at an index's end.
create function scope.uuid_v7() returns uuid language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;

-- Dealerships, their people, and the inbox of Clerk's webhooks.
create table dealerships (
    id uuid not null default scope.uuid_v7(),
    clerk_org_id text not null,
    name text not null,
    slug text,
    country text not null default 'NO',
    subscription_tier text not null default 'trial',
    subscription_status text not null default 'active',
    -- The timestamp of the newest Clerk event applied, in ms; 0 for a row that only a token vouches for.
    clerk_version bigint not null default 0,
    -- The same for the copies in a membership's events, which fill a row without an event of its own.
    embedded_version bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    -- The settings of its form. Beyond the caps a submission is held for a person to look at, never refused.
    -- Exact origins whose scripts may read the form's answer.
    form_origins text[] not null default '{}',
    -- Exact origins that a plain form may send the browser on to.
    form_redirect_origins text[] not null default '{}',
    form_captcha_required boolean not null default false,
    -- Submissions accepted in an hour, and sent by one address in ten minutes.
    form_hourly_cap integer not null default 200,
    form_address_cap integer not null default 20,
    constraint dealerships_pkey primary key (id),
    constraint dealerships_clerk_org_id_key unique (clerk_org_id),
    constraint dealerships_clerk_org_id_check check (clerk_org_id like 'org\_%'),
    constraint dealerships_country_check check (country ~ '^[A-Z]{2}$'),
    constraint dealerships_subscription_tier_check
        check (subscription_tier in ('trial', 'starter', 'professional', 'enterprise')),
    constraint dealerships_subscription_status_check
        check (subscription_status in ('active', 'past_due', 'suspended', 'canceled')),
    constraint dealerships_form_origins_check check (cardinality(form_origins) <= 20),
    constraint dealerships_form_redirect_origins_check check (cardinality(form_redirect_origins) <= 20),
    constraint dealerships_form_hourly_cap_check check (form_hourly_cap between 0 and 100000),
    constraint dealerships_form_address_cap_check check (form_address_cap between 0 and 100)
);

create table users (
    id uuid not null default scope.uuid_v7(),
    clerk_user_id text not null,
    email text,
    first_name text,
    last_name text,
    clerk_version bigint not null default 0,
    embedded_version bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint users_pkey primary key (id),
    constraint users_clerk_user_id_key unique (clerk_user_id),
    constraint users_clerk_user_id_check check (clerk_user_id like 'user\_%')
);

create table memberships (
    dealership_id uuid not null,
    user_id uuid not null,
    -- Unknown while only a token vouches for the membership.
    clerk_membership_id text,
    role text not null,
    -- The moment as of which Clerk said so: a token's iat or an event's timestamp.
    role_at timestamptz not null,
    clerk_version bigint not null default 0,
    created_at timestamptz not null default now(),
    -- A tombstone: the row stays, so that a token issued before the removal cannot bring it back.
    removed_at timestamptz,
    -- The iat of the token that last made or revived the row: a removal before it is of an earlier membership.
    confirmed_at timestamptz,
    -- The newest removal, in ms, of another membership than the row's: nothing older brings a removed row back.
    left_version bigint not null default 0,
    -- The earliest membership of the two that Clerk told of, in ms: it decides who was first.
    joined_version bigint,
    -- Clerk named no role, or the legacy basic_member: the first member is the admin, the others sales reps.
    role_is_presumed boolean not null default false,
    constraint memberships_pkey primary key (dealership_id, user_id),
    constraint memberships_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint memberships_user_fkey foreign key (user_id) references users (id),
    constraint memberships_role_check check (role in ('admin', 'manager', 'sales_rep'))
);
create index memberships_user_idx on memberships (user_id);

create table webhook_inbox (
    provider text not null,
    message_id text not null,
    event_type text,
    payload jsonb,
    received_at timestamptz not null default now(),
    outcome text not null default 'applied',
    occurred_at timestamptz,
    -- Whom it is about, so that a deleted person can be forgotten here too.
    clerk_user_id text,
    -- As it came, when it is malformed.
    body text,
    constraint webhook_inbox_pkey primary key (provider, message_id),
    constraint webhook_inbox_provider_check check (provider in ('clerk')),
    constraint webhook_inbox_outcome_check check (outcome in ('applied', 'ignored', 'malformed'))
);
create index webhook_inbox_user_idx on webhook_inbox (clerk_user_id);
create index webhook_inbox_received_idx on webhook_inbox (received_at);
create index webhook_inbox_malformed_idx on webhook_inbox (received_at) where outcome = 'malformed';

-- What Clerk has deleted, by its own id: organizations, users and memberships. Nothing brings one back, and the
-- id outlives the row, so that a message replayed after the purge makes nothing new.
create table clerk_tombstones (
    clerk_id text not null,
    deleted_at timestamptz not null,
    constraint clerk_tombstones_pkey primary key (clerk_id),
    constraint clerk_tombstones_clerk_id_check check (clerk_id ~ '^(org|user|orgmem)_')
);

alter table dealerships enable row level security;
alter table dealerships force row level security;
create policy dealerships_member on dealerships to norvalt_reader, norvalt_writer
    using (id = (select scope.dealership_id()))
    with check (id = (select scope.dealership_id()));
create policy dealerships_provisioner on dealerships to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));
create policy dealerships_gate on dealerships to norvalt_gate using (true) with check (true);

alter table memberships enable row level security;
alter table memberships force row level security;
create policy memberships_member on memberships to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));
create policy memberships_provisioner on memberships to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));
create policy memberships_gate on memberships to norvalt_gate using (true) with check (true);

-- A person may belong to several dealerships, so a user is seen through a membership.
alter table users enable row level security;
alter table users force row level security;
create policy users_member on users to norvalt_reader, norvalt_writer
    using (id in (select user_id from memberships where dealership_id = (select scope.dealership_id())))
    with check (false);
create policy users_provisioner on users to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));
create policy users_gate on users to norvalt_gate using (true) with check (true);

alter table webhook_inbox enable row level security;
alter table webhook_inbox force row level security;
create policy webhook_inbox_provisioner on webhook_inbox to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));

grant select, insert, update on dealerships, users, memberships to norvalt_provisioner, norvalt_gate;
alter table clerk_tombstones enable row level security;
alter table clerk_tombstones force row level security;
create policy clerk_tombstones_provisioner on clerk_tombstones to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));
create policy clerk_tombstones_gate on clerk_tombstones to norvalt_gate using (true) with check (true);

grant select, insert on clerk_tombstones to norvalt_provisioner, norvalt_gate;
grant select, insert, update (payload), delete on webhook_inbox to norvalt_provisioner;
grant delete on dealerships to norvalt_gate;
-- Who wrote a message is shown by name, also after they have left.
grant select (id, first_name, last_name) on users to norvalt_reader, norvalt_writer;
grant select (dealership_id, user_id, removed_at) on memberships to norvalt_reader, norvalt_writer;

-- The reader tells a member who they are and where: these columns and no more. The policies show the member's own
-- dealership and the people of it, whom the policy of users finds through their memberships.
grant select (id, clerk_org_id, name, slug, subscription_tier, subscription_status) on dealerships to norvalt_reader;
grant select (id, clerk_user_id, first_name, last_name, email) on users to norvalt_reader;
grant select (dealership_id, user_id) on memberships to norvalt_reader;

-- The gate: the only ways into a scope, and the only functions that see past the policies. They run as
-- norvalt_gate, name every object in full and take nothing but verified claims (or, for the public form,
-- the dealership's id). A refusal raises, which aborts the transaction: the statement pipelined behind it
-- cannot run unscoped. The SQLSTATEs are translated in shared/src/db/error.rs.
--   NV001 not known here yet (provision and try again)   NV002 removed from the dealership
--   NV003 the role was lowered after the token was issued NV004 dealership suspended or deleted
--   NV005 no such dealership, lead or merge              NV006 the role does not allow it
set local role norvalt_gate;

create function scope.role_rank(name text) returns integer language sql immutable parallel safe
    return case name when 'admin' then 3 when 'manager' then 2 when 'sales_rep' then 1 else 0 end;

-- Until the transaction ends, whatever else is about this organization or person waits. Whoever locks both locks
-- the organization first.
create function scope.lock_clerk_id(clerk_id text) returns void language sql volatile
    return pg_advisory_xact_lock(hashtextextended(clerk_id, 0));

-- Enters the scope of a member, if the membership lives. `issued_at` is the token's iat in seconds.
-- A token that names no role speaks with the row's. Returns the dealership, for the log.
create function scope.enter_member(org text, person text, token_role text, issued_at bigint) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    member record;
begin
    select d.id as dealership_id, d.subscription_status, d.deleted_at,
           m.user_id, m.role, m.role_at, m.removed_at, u.deleted_at as person_deleted_at
      into member
      from public.dealerships d
      left join public.users u on u.clerk_user_id = person
      left join public.memberships m on m.dealership_id = d.id and m.user_id = u.id
     where d.clerk_org_id = org;

    if member.deleted_at is not null or member.subscription_status = 'suspended' then
        raise exception 'dealership suspended' using errcode = 'NV004';
    elsif member.person_deleted_at is not null then
        raise exception 'person deleted' using errcode = 'NV002';
    elsif member.user_id is null then
        raise exception 'member not known yet' using errcode = 'NV001';
    elsif member.removed_at is not null and issued_at > extract(epoch from member.removed_at) then
        raise exception 'member rejoined' using errcode = 'NV001';
    elsif member.removed_at is not null then
        raise exception 'member removed' using errcode = 'NV002';
    elsif scope.role_rank(token_role) > scope.role_rank(member.role) then
        if issued_at > extract(epoch from member.role_at) then
            raise exception 'role raised' using errcode = 'NV001';
        end if;
        raise exception 'role lowered' using errcode = 'NV003';
    end if;

    -- The lower of the two roles: a token may be up to a minute older or newer than the row.
    perform set_config('norvalt.dealership_id', member.dealership_id::text, true),
            set_config('norvalt.user_id', member.user_id::text, true),
            set_config('norvalt.role', coalesce(token_role, member.role), true);
    return member.dealership_id;
end $$;

-- Around enter_member, where the token could not tell whether the caller may: passes the dealership on, or raises.
create function scope.require_role(dealership uuid, allowed text[]) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if not coalesce(scope.role() = any (allowed), false) then
        raise exception 'role not allowed' using errcode = 'NV006';
    end if;
    return dealership;
end $$;

-- Just-in-time provisioning: a session token can arrive before Clerk's webhook. Version 0 lets the
-- webhook, whatever its timestamp, still fill the rows in. A membership that was removed comes back only
-- for a token issued after the removal, and a role changes only for a token issued after the role was set.
-- Nothing is made against a tombstone. Without a token_role the token names none: that is no assertion, and
-- whatever Clerk's events say stands.
create function scope.provision(org text, org_slug text, person text, token_role text, issued_at bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform scope.lock_clerk_id(org);
    perform scope.lock_clerk_id(person);
    if exists (select from public.clerk_tombstones where clerk_id = org) then
        raise exception 'dealership deleted' using errcode = 'NV004';
    elsif exists (select from public.clerk_tombstones where clerk_id = person) then
        raise exception 'person deleted' using errcode = 'NV002';
    end if;

    insert into public.dealerships (clerk_org_id, name, slug)
    values (org, coalesce(org_slug, org), org_slug)
    on conflict on constraint dealerships_clerk_org_id_key do nothing;

    insert into public.users (clerk_user_id) values (person)
    on conflict on constraint users_clerk_user_id_key do nothing;

    insert into public.memberships as m (dealership_id, user_id, role, role_at, role_is_presumed, confirmed_at)
    select d.id, u.id, coalesce(token_role, 'sales_rep'),
           to_timestamp(case when token_role is null then 0 else issued_at end), token_role is null,
           to_timestamp(issued_at)
      from public.dealerships d, public.users u
     where d.clerk_org_id = org and u.clerk_user_id = person
       and d.deleted_at is null and u.deleted_at is null
    on conflict on constraint memberships_pkey do update
       set role = case when excluded.role_at > m.role_at then excluded.role else m.role end,
           role_is_presumed = case when excluded.role_at > m.role_at then excluded.role_is_presumed
                                   else m.role_is_presumed end,
           role_at = greatest(excluded.role_at, m.role_at),
           confirmed_at = greatest(excluded.confirmed_at, m.confirmed_at), removed_at = null,
           clerk_membership_id = case when m.removed_at is null then m.clerk_membership_id end
     where m.removed_at is null and excluded.role_at > m.role_at or excluded.confirmed_at > m.removed_at;
end $$;

-- Enters the scope of a public form: inserts for one dealership, and nothing to see.
create function scope.enter_intake(dealership uuid) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from public.dealerships d
                    where d.id = dealership and d.deleted_at is null and d.subscription_status <> 'suspended') then
        raise exception 'no such dealership' using errcode = 'NV005';
    end if;
    perform set_config('norvalt.dealership_id', dealership::text, true);
    return dealership;
end $$;

-- Enters the scope of Clerk's webhooks: dealerships, users, memberships and the inbox, and no lead.
create function scope.enter_provisioning() returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('norvalt.provisioning', 'on', true);
    return null;
end $$;

-- The grace period is over: one step in removing what was deleted before then. Of one dealership it removes so many
-- leads at the most, with all that hangs on them, and once none is left the dealership, with all that is its own.
-- Says how many of each went: nothing means that nothing is left. The tombstones stay.
create function scope.purge(before timestamptz, most_leads integer, out purged_leads bigint, out purged_dealerships bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone record;
begin
    purged_leads := 0;
    purged_dealerships := 0;
    -- Whoever else purges takes another one.
    select d.id, d.clerk_org_id, d.deleted_at into gone from public.dealerships d
     where d.deleted_at < before order by d.deleted_at, d.id limit 1 for update skip locked;
    if not found then
        return;
    end if;
    perform set_config('norvalt.dealership_id', gone.id::text, true);
    delete from public.leads l where l.dealership_id = gone.id and l.id in (
        select b.id from public.leads b where b.dealership_id = gone.id limit most_leads);
    get diagnostics purged_leads = row_count;
    if purged_leads < most_leads then
        insert into public.clerk_tombstones (clerk_id, deleted_at) values (gone.clerk_org_id, gone.deleted_at)
        on conflict do nothing;
        delete from public.dealerships where id = gone.id;
        get diagnostics purged_dealerships = row_count;
    end if;
end $$;

revoke execute on function scope.enter_member, scope.provision, scope.enter_intake, scope.enter_provisioning,
    scope.lock_clerk_id, scope.purge, scope.require_role from public;
grant execute on function scope.enter_member, scope.provision, scope.require_role to norvalt_reader, norvalt_writer;
grant execute on function scope.enter_intake to norvalt_intake;
grant execute on function scope.enter_provisioning, scope.lock_clerk_id, scope.purge to norvalt_provisioner;

reset role;

-- Vehicles and leads. Only leakproof operators can use an index under row-level security: states are text
-- with a CHECK, and search is a prefix search on stored lower-case columns in COLLATE "C".
create table vehicles (
    dealership_id uuid not null default scope.dealership_id(),
    id uuid not null default scope.uuid_v7(),
    vin text,
    registration_number text,
    make text not null,
    model text not null,
    model_year integer,
    condition text not null default 'used',
    status text not null default 'available',
    price_minor bigint,
    currency text not null default 'NOK',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint vehicles_pkey primary key (dealership_id, id),
    constraint vehicles_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint vehicles_vin_key unique (dealership_id, vin),
    constraint vehicles_condition_check check (condition in ('new', 'used', 'demo')),
    constraint vehicles_status_check check (status in ('available', 'reserved', 'sold')),
    constraint vehicles_model_year_check check (model_year between 1900 and 2100),
    constraint vehicles_price_minor_check check (price_minor >= 0),
    constraint vehicles_currency_check check (currency ~ '^[A-Z]{3}$')
);

create table leads (
    dealership_id uuid not null default scope.dealership_id(),
    id uuid not null default scope.uuid_v7(),
    source text not null,
    status text not null default 'new',
    lost_reason text,
    first_name text,
    last_name text,
    email text,
    -- As typed; phone_e164 is what it was understood to be, if anything.
    phone text,
    phone_e164 text collate "C",
    company text,
    message text,
    vehicle_id uuid,
    vehicle_of_interest text,
    assigned_to uuid,
    attribution jsonb not null default '{}',
    consent jsonb not null default '{}',
    -- Kept by the trigger on conversations.
    first_human_response_at timestamptz,
    first_ai_response_at timestamptz,
    conversation_count integer not null default 0,
    -- Search keys, and the e-mail's key for duplicates.
    name_key text collate "C" generated always as (lower(btrim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')))) stored,
    last_name_key text collate "C" generated always as (lower(last_name)) stored,
    company_key text collate "C" generated always as (lower(company)) stored,
    email_key text collate "C" generated always as (lower(email)) stored,
    -- Counts the row's changes: the ETag.
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    -- The lead that this one was merged into. It has its messages, and this one is out of sight like a deleted one.
    merged_into uuid,
    constraint leads_pkey primary key (dealership_id, id),
    constraint leads_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint leads_assigned_to_fkey foreign key (dealership_id, assigned_to) references memberships (dealership_id, user_id),
    constraint leads_vehicle_fkey foreign key (dealership_id, vehicle_id) references vehicles (dealership_id, id),
    constraint leads_source_check check (source in ('website', 'email', 'sms', 'facebook', 'google_ads', 'phone',
        'walk_in', 'referral', 'marketplace', 'adf', 'api', 'manual')),
    constraint leads_status_check check (status in ('new', 'contacted', 'qualified', 'won', 'lost')),
    constraint leads_lost_reason_check check ((status = 'lost') = (lost_reason is not null)),
    constraint leads_contact_check check (num_nonnulls(first_name, last_name, email, phone, company) > 0),
    constraint leads_first_name_check check (char_length(first_name) between 1 and 100),
    constraint leads_last_name_check check (char_length(last_name) between 1 and 100),
    constraint leads_email_check check (char_length(email) between 3 and 254 and email like '%_@_%'),
    constraint leads_phone_check check (char_length(phone) between 1 and 40),
    constraint leads_phone_e164_check check (phone_e164 ~ '^\+[1-9][0-9]{4,14}$'),
    constraint leads_company_check check (char_length(company) between 1 and 200),
    constraint leads_message_check check (char_length(message) between 1 and 10000),
    constraint leads_vehicle_of_interest_check check (char_length(vehicle_of_interest) between 1 and 200),
    constraint leads_lost_reason_length_check check (char_length(lost_reason) between 1 and 500),
    constraint leads_attribution_check check (jsonb_typeof(attribution) = 'object'),
    constraint leads_consent_check check (jsonb_typeof(consent) = 'object'),
    constraint leads_merged_into_fkey foreign key (dealership_id, merged_into) references leads (dealership_id, id)
        on delete cascade,
    constraint leads_merged_into_check check (merged_into is null or (merged_into <> id and deleted_at is not null))
);
create index leads_created_idx on leads (dealership_id, created_at, id) where deleted_at is null;
create index leads_updated_idx on leads (dealership_id, updated_at, id) where deleted_at is null;
create index leads_status_idx on leads (dealership_id, status, created_at, id) where deleted_at is null;
create index leads_source_idx on leads (dealership_id, source, created_at, id) where deleted_at is null;
create index leads_assigned_to_idx on leads (dealership_id, assigned_to, created_at, id) where deleted_at is null;
create index leads_name_idx on leads (dealership_id, name_key) where deleted_at is null;
create index leads_last_name_idx on leads (dealership_id, last_name_key) where deleted_at is null;
create index leads_company_idx on leads (dealership_id, company_key) where deleted_at is null;
create index leads_email_idx on leads (dealership_id, email_key) where deleted_at is null;
create index leads_phone_idx on leads (dealership_id, phone_e164) where deleted_at is null;
create index leads_merged_into_idx on leads (dealership_id, merged_into) where merged_into is not null;

-- What every change of a lead obeys: its version counts up, and its status moves along an allowed line.
create function leads_before_update() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.version := old.version + 1;
    new.updated_at := now();
    if new.status <> old.status and (old.status, new.status) not in (
        ('new', 'contacted'), ('new', 'qualified'), ('new', 'lost'),
        ('contacted', 'qualified'), ('contacted', 'won'), ('contacted', 'lost'),
        ('qualified', 'contacted'), ('qualified', 'won'), ('qualified', 'lost'),
        ('lost', 'contacted')
    ) then
        raise exception 'status % cannot become %', old.status, new.status
            using errcode = 'check_violation', table = 'leads', constraint = 'leads_status_transition';
    end if;
    return new;
end $$;
-- A row that is put back as it was says its version itself, and is not counted. The gate alone may: nobody else has
-- the column's grant.
create trigger leads_before_update before update on leads
    for each row when (new.version = old.version) execute function leads_before_update();

-- A lead is assigned to a member who is there: the foreign key holds for the removed ones as well, whose rows stay.
-- Runs as the gate, for a writer sees no membership.
set local role norvalt_gate;
create function scope.check_assignee() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from public.memberships m
                    where m.dealership_id = new.dealership_id and m.user_id = new.assigned_to and m.removed_at is null) then
        raise exception 'the assignee is no member'
            using errcode = 'foreign_key_violation', table = 'leads', constraint = 'leads_assigned_to_fkey';
    end if;
    return new;
end $$;
revoke execute on function scope.check_assignee from public;
reset role;
create trigger leads_assignee_of_new before insert on leads
    for each row when (new.assigned_to is not null) execute function scope.check_assignee();
create trigger leads_assignee_changed before update on leads
    for each row when (new.assigned_to is not null and new.assigned_to is distinct from old.assigned_to)
    execute function scope.check_assignee();

alter table vehicles enable row level security;
alter table vehicles force row level security;
create policy vehicles_member on vehicles to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

alter table leads enable row level security;
alter table leads force row level security;
create policy leads_member on leads to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id())
           and ((select scope.sees_all_leads()) or assigned_to = (select scope.user_id())))
    with check (dealership_id = (select scope.dealership_id())
           and ((select scope.sees_all_leads()) or assigned_to = (select scope.user_id()))
           and (deleted_at is null or (select scope.role()) = 'admin'));
create policy leads_create on leads as restrictive for insert to norvalt_writer
    with check ((select scope.sees_all_leads()));
-- The gate, too, sees one dealership's leads at a time.
create policy leads_gate on leads to norvalt_gate
    using (dealership_id = (select scope.dealership_id())) with check (dealership_id = (select scope.dealership_id()));

grant select (dealership_id, id), delete on leads to norvalt_gate;
grant select on leads to norvalt_reader, norvalt_writer;
grant insert (id, source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_id,
              vehicle_of_interest, assigned_to, attribution, consent) on leads to norvalt_writer;
grant update (status, lost_reason, source, first_name, last_name, email, phone, phone_e164, company, message,
              vehicle_id, vehicle_of_interest, assigned_to, attribution, consent, first_human_response_at,
              first_ai_response_at, conversation_count, deleted_at) on leads to norvalt_writer;

-- One row is one message on a lead.
create table conversations (
    dealership_id uuid not null default scope.dealership_id(),
    id uuid not null default scope.uuid_v7(),
    lead_id uuid not null,
    direction text not null,
    channel text not null,
    author_kind text not null,
    -- The member who wrote it, when a human of the dealership did.
    author_id uuid,
    auto_reply boolean not null default false,
    body text not null,
    message_metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint conversations_pkey primary key (dealership_id, id),
    constraint conversations_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint conversations_lead_fkey foreign key (dealership_id, lead_id) references leads (dealership_id, id) on delete cascade,
    constraint conversations_author_fkey foreign key (dealership_id, author_id) references memberships (dealership_id, user_id),
    constraint conversations_direction_check check (direction in ('inbound', 'outbound')),
    constraint conversations_channel_check check (channel in ('email', 'sms', 'facebook', 'phone', 'note', 'form')),
    constraint conversations_form_check check (channel <> 'form' or direction = 'inbound'),
    constraint conversations_author_kind_check check (author_kind in ('customer', 'human', 'ai', 'system')),
    constraint conversations_author_check check ((direction = 'inbound') = (author_kind = 'customer')),
    constraint conversations_note_check check (channel <> 'note' or direction = 'outbound'),
    constraint conversations_author_id_check check (author_id is null or author_kind = 'human'),
    constraint conversations_body_check check (char_length(body) between 1 and 20000),
    constraint conversations_message_metadata_check check (jsonb_typeof(message_metadata) = 'object')
);
create index conversations_lead_idx on conversations (dealership_id, lead_id, created_at, id);

-- Whoever writes a message, the lead's count and its two first-response clocks follow. A response goes to
-- the customer and comes from a person or the AI: a note, an auto-reply or the system never stops a clock.
create function conversations_after_insert() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    responds boolean := new.direction = 'outbound' and new.channel <> 'note' and not new.auto_reply;
begin
    update public.leads
       set conversation_count = conversation_count + 1,
           first_human_response_at = case when responds and new.author_kind = 'human'
               then least(first_human_response_at, new.created_at) else first_human_response_at end,
           first_ai_response_at = case when responds and new.author_kind = 'ai'
               then least(first_ai_response_at, new.created_at) else first_ai_response_at end
     where dealership_id = new.dealership_id and id = new.lead_id;
    return null;
end $$;
create trigger conversations_after_insert after insert on conversations
    for each row execute function conversations_after_insert();

-- A sales rep sees the messages of the leads they see; for others the sub-query never runs.
alter table conversations enable row level security;
alter table conversations force row level security;
create policy conversations_member on conversations to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id())
           and ((select scope.sees_all_leads()) or exists (
               select from leads l where l.dealership_id = conversations.dealership_id and l.id = conversations.lead_id)))
    with check (dealership_id = (select scope.dealership_id())
           and ((select scope.sees_all_leads()) or exists (
               select from leads l where l.dealership_id = conversations.dealership_id and l.id = conversations.lead_id)));

grant select on conversations to norvalt_reader, norvalt_writer;
grant insert (id, lead_id, direction, channel, author_kind, author_id, auto_reply, body, message_metadata)
    on conversations to norvalt_writer;

-- The automation that a dealership wants; no function reads it yet.
create table automation_rules (
    dealership_id uuid not null default scope.dealership_id(),
    id uuid not null default scope.uuid_v7(),
    name text not null,
    trigger text not null,
    conditions jsonb not null default '{}',
    actions jsonb not null default '[]',
    position integer not null default 0,
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint automation_rules_pkey primary key (dealership_id, id),
    constraint automation_rules_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint automation_rules_name_key unique (dealership_id, name),
    constraint automation_rules_trigger_check
        check (trigger in ('lead_created', 'message_received', 'status_changed', 'no_response')),
    constraint automation_rules_conditions_check check (jsonb_typeof(conditions) = 'object'),
    constraint automation_rules_actions_check check (jsonb_typeof(actions) = 'array')
);

alter table automation_rules enable row level security;
alter table automation_rules force row level security;
create policy automation_rules_member on automation_rules to norvalt_reader, norvalt_writer
    using (dealership_id = (select scope.dealership_id()))
    with check (dealership_id = (select scope.dealership_id()));

-- What an Idempotency-Key made, so that a repeated POST answers with it instead of making a second one.
-- The caller is the member.
create table idempotency_keys (
    dealership_id uuid not null default scope.dealership_id(),
    caller uuid not null default coalesce(scope.user_id(), '00000000-0000-0000-0000-000000000000'),
    route text not null,
    key text not null,
    -- SHA-256 of the body: the same key with another body is a mistake, not a repetition.
    request_hash bytea not null,
    resource_id uuid,
    created_at timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (dealership_id, caller, route, key),
    constraint idempotency_keys_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint idempotency_keys_key_check check (char_length(key) between 1 and 255)
);

alter table idempotency_keys enable row level security;
alter table idempotency_keys force row level security;
create policy idempotency_keys_member on idempotency_keys to norvalt_writer
    using (dealership_id = (select scope.dealership_id()) and caller = (select scope.user_id()))
    with check (dealership_id = (select scope.dealership_id()) and caller = (select scope.user_id()));

grant select, insert (route, key, request_hash, resource_id) on idempotency_keys to norvalt_writer;

-- The public form: every submission as it came, the verdict on it, and what was made of it. The form's own user may
-- call two functions of the gate and touch no table; norvalt_parser reads the submissions of one dealership at a
-- time, for what was left unfiled and for another mapping.
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

-- Keeps what was read from a submission and, if it is accepted, files it: on the open lead of the same e-mail address
-- or phone number, whose blanks it fills and where nothing is overwritten, else on a new one. Without either it is held
-- instead, and so is what cannot be filed, unless a person has said that it is to be filed. What is filed stays as it is.
-- Nothing is read under another mapping than today's: whoever does it knew an older one, and it is read once more.
create function scope.file_submission(submission uuid, read jsonb, read_under integer) returns void
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

-- Two leads of one customer become one, and the journal can take them apart again.
-- The journal: what each merge changed, as it was before. It repeats nothing that a customer said: what was filled
-- was blank, and the values are still in the row that was merged.
create table merges (
    dealership_id uuid not null default scope.dealership_id(),
    id uuid not null,
    survivor_id uuid not null,
    merged_id uuid not null,
    -- The survivor's fields that were blank and have the other's values since.
    filled text[] not null,
    -- The messages that moved.
    conversation_ids uuid[] not null,
    -- The columns that changed, as they were.
    survivor_before jsonb not null,
    merged_before jsonb not null,
    created_by uuid not null default scope.user_id(),
    created_at timestamptz not null default now(),
    undone_by uuid,
    undone_at timestamptz,
    constraint merges_pkey primary key (dealership_id, id),
    constraint merges_dealership_fkey foreign key (dealership_id) references dealerships (id) on delete cascade,
    constraint merges_survivor_fkey foreign key (dealership_id, survivor_id) references leads (dealership_id, id) on delete cascade,
    constraint merges_merged_fkey foreign key (dealership_id, merged_id) references leads (dealership_id, id) on delete cascade,
    constraint merges_created_by_fkey foreign key (dealership_id, created_by) references memberships (dealership_id, user_id),
    constraint merges_undone_by_fkey foreign key (dealership_id, undone_by) references memberships (dealership_id, user_id),
    constraint merges_leads_check check (survivor_id <> merged_id),
    constraint merges_survivor_before_check check (jsonb_typeof(survivor_before) = 'object'),
    constraint merges_merged_before_check check (jsonb_typeof(merged_before) = 'object'),
    constraint merges_undone_check check ((undone_at is null) = (undone_by is null))
);
create index merges_survivor_idx on merges (dealership_id, survivor_id);
create index merges_merged_idx on merges (dealership_id, merged_id);
-- A lead is merged into one other at a time.
create unique index merges_merged_key on merges (dealership_id, merged_id) where undone_at is null;

alter table merges enable row level security;
alter table merges force row level security;
create policy merges_member on merges to norvalt_writer
    using (dealership_id = (select scope.dealership_id()) and (select scope.sees_all_leads()))
    with check (dealership_id = (select scope.dealership_id()) and (select scope.sees_all_leads()));

-- Beyond the members' policies the gate may hide a lead and put it back, and still in the scope's dealership alone.
create policy merges_gate on merges to norvalt_gate
    using (dealership_id = (select scope.dealership_id())) with check (dealership_id = (select scope.dealership_id()));

grant select (id, survivor_id, merged_id, filled, conversation_ids, created_at, undone_at) on merges to norvalt_writer;
grant select, insert (id, survivor_id, merged_id, filled, conversation_ids, survivor_before, merged_before),
      update (undone_by, undone_at) on merges to norvalt_gate;
grant select, update (first_name, last_name, email, phone, phone_e164, company, message, vehicle_id, vehicle_of_interest,
                      assigned_to, attribution, consent, first_human_response_at, first_ai_response_at,
                      conversation_count, deleted_at, merged_into, version, updated_at) on leads to norvalt_gate;
grant select, update (lead_id) on conversations to norvalt_gate;

set local role norvalt_gate;

-- Changes what a merge may change: the columns that `change` names.
create function scope.change_lead(lead uuid, change jsonb) returns public.leads language sql volatile as $$
    update public.leads l
       set (first_name, last_name, email, phone, phone_e164, company, message, vehicle_id, vehicle_of_interest, assigned_to,
            attribution, consent, first_human_response_at, first_ai_response_at, conversation_count, deleted_at,
            merged_into, version, updated_at) = (
            select r.first_name, r.last_name, r.email, r.phone, r.phone_e164, r.company, r.message, r.vehicle_id,
                   r.vehicle_of_interest, r.assigned_to, r.attribution, r.consent, r.first_human_response_at,
                   r.first_ai_response_at, r.conversation_count, r.deleted_at, r.merged_into, r.version, r.updated_at
              from jsonb_populate_record(l, change) r)
     where l.dealership_id = scope.dealership_id() and l.id = lead
    returning l.*
$$;

-- The named fields of a row; a phone number is two columns.
create function scope.pick(of_row jsonb, names text[]) returns jsonb language sql immutable parallel safe
    return (select coalesce(jsonb_object_agg(name, of_row->name), '{}')
              from unnest(names || case when 'phone' = any (names) then array['phone_e164'] else '{}' end) name);

-- Merges one lead into another: its messages move, the survivor's blanks are filled, and it is out of sight. Nothing
-- of the survivor is overwritten; its status, source and times of creation stay. `versions` are those that the caller
-- has seen of the survivor, if they say.
-- Answers with what the statement that calls it cannot see yet: the survivor and its newest message.
create function scope.merge_leads(
    merge_id uuid, survivor_id uuid, merged_id uuid, versions integer[],
    out entry public.merges, out survivor public.leads, out last_message public.conversations)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    merged public.leads;
    ours jsonb;
    theirs jsonb;
    filled text[];
    moved uuid[];
    counted jsonb;
begin
    if not scope.sees_all_leads() then
        raise exception 'the role does not merge' using errcode = 'insufficient_privilege';
    end if;
    -- Whoever locks several leads locks them in the order of their ids, and the journal after them.
    perform l.id from public.leads l
      where l.dealership_id = scope.dealership_id() and l.id in (survivor_id, merged_id) order by l.id for no key update;
    select l.* into survivor from public.leads l where l.dealership_id = scope.dealership_id() and l.id = survivor_id;
    select l.* into merged from public.leads l where l.dealership_id = scope.dealership_id() and l.id = merged_id;
    if survivor.id is null or merged.id is null
       or survivor.deleted_at is not null and survivor.merged_into is null
       or merged.deleted_at is not null and merged.merged_into is null then
        raise exception 'no such lead' using errcode = 'NV005';
    elsif coalesce(survivor.merged_into, merged.merged_into) is not null then
        raise exception 'a lead is merged already'
            using errcode = 'check_violation', table = 'leads', constraint = 'leads_merged';
    elsif survivor.version <> all (versions) then
        raise exception 'the lead has changed' using errcode = 'check_violation', table = 'leads', constraint = 'leads_if_match';
    end if;

    with moving as (
        update public.conversations c set lead_id = survivor.id
         where c.dealership_id = scope.dealership_id() and c.lead_id = merged.id
        returning c.id
    )
    select coalesce(array_agg(m.id order by m.id), '{}') into moved from moving m;

    ours := to_jsonb(survivor);
    theirs := to_jsonb(merged);
    -- Somebody who has left is assigned nothing any more.
    if not exists (select from public.memberships m where m.dealership_id = merged.dealership_id
                      and m.user_id = merged.assigned_to and m.removed_at is null) then
        theirs := theirs - 'assigned_to';
    end if;
    filled := array(
        select f.name
          from unnest(array['first_name', 'last_name', 'email', 'phone', 'company', 'message', 'vehicle_id',
                            'vehicle_of_interest', 'assigned_to', 'attribution', 'consent']) with ordinality f (name, n)
         where coalesce(ours->f.name, 'null') in ('null', '{}') and coalesce(theirs->f.name, 'null') not in ('null', '{}')
         order by f.n);
    counted := jsonb_build_object(
        'conversation_count', survivor.conversation_count + cardinality(moved),
        'first_human_response_at', least(survivor.first_human_response_at, merged.first_human_response_at),
        'first_ai_response_at', least(survivor.first_ai_response_at, merged.first_ai_response_at));
    survivor := scope.change_lead(survivor.id, scope.pick(theirs, filled) || counted);
    perform scope.change_lead(merged.id, jsonb_build_object('deleted_at', now(), 'merged_into', survivor.id));

    insert into public.merges as j
        (id, survivor_id, merged_id, filled, conversation_ids, survivor_before, merged_before)
    values (merge_id, survivor.id, merged.id, filled, moved,
            scope.pick(ours, filled || array['conversation_count', 'first_human_response_at', 'first_ai_response_at',
                                             'version', 'updated_at']),
            scope.pick(theirs, array['deleted_at', 'merged_into', 'version', 'updated_at']))
    returning j.* into entry;
    select c.* into last_message from public.conversations c
     where c.dealership_id = survivor.dealership_id and c.lead_id = survivor.id
     order by c.created_at desc, c.id desc limit 1;
end $$;

-- Takes a merge back. Nothing happened to the survivor since: both leads are as they were, to the byte. Otherwise what
-- somebody wrote since stays: the messages that moved go back and those that arrived since do not, a field that was
-- filled is blank again if it still has the other's value, and the survivor's counts follow its messages.
create function scope.undo_merge(merge_id uuid, out entry public.merges, out cleared text[], out conversations_moved integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    survivor public.leads;
    ours jsonb;
    theirs jsonb;
    change jsonb;
begin
    if not scope.sees_all_leads() then
        raise exception 'the role does not merge' using errcode = 'insufficient_privilege';
    end if;
    select j.* into entry from public.merges j where j.dealership_id = scope.dealership_id() and j.id = merge_id;
    perform l.id from public.leads l
      where l.dealership_id = scope.dealership_id() and l.id in (entry.survivor_id, entry.merged_id)
      order by l.id for no key update;
    select j.* into entry from public.merges j where j.dealership_id = scope.dealership_id() and j.id = merge_id for update;
    select l.* into survivor from public.leads l
     where l.dealership_id = scope.dealership_id() and l.id = entry.survivor_id;
    if entry.id is null then
        raise exception 'no such merge' using errcode = 'NV005';
    elsif entry.undone_at is not null then
        raise exception 'undone already' using errcode = 'check_violation', table = 'merges', constraint = 'merges_undone';
    elsif survivor.deleted_at is not null then
        raise exception 'the survivor is gone'
            using errcode = 'check_violation', table = 'merges', constraint = 'merges_survivor_gone';
    end if;

    with moving as (
        update public.conversations c set lead_id = entry.merged_id
         where c.dealership_id = entry.dealership_id and c.lead_id = survivor.id and c.id = any (entry.conversation_ids)
        returning c.id
    )
    select count(*) into conversations_moved from moving;

    cleared := entry.filled;
    change := entry.survivor_before;
    if survivor.version <> (entry.survivor_before->>'version')::integer + 1 then
        ours := to_jsonb(survivor);
        select to_jsonb(l) into theirs from public.leads l
         where l.dealership_id = entry.dealership_id and l.id = entry.merged_id;
        cleared := array(select f.name from unnest(entry.filled) with ordinality f (name, n)
                          where scope.pick(ours, array[f.name]) = scope.pick(theirs, array[f.name]) order by f.n);
        -- A lead has a name, an address, a number or a company: the merge's own stay when there would be none.
        if not exists (select from unnest(array['first_name', 'last_name', 'email', 'phone', 'company']) f (name)
                        where ours->f.name <> 'null' and f.name <> all (cleared)) then
            cleared := array(select f.name from unnest(cleared) with ordinality f (name, n)
                              where f.name not in ('first_name', 'last_name', 'email', 'phone', 'company') order by f.n);
        end if;
        -- As the trigger on conversations counts them.
        select scope.pick(entry.survivor_before, cleared) || jsonb_build_object(
                   'conversation_count', survivor.conversation_count - conversations_moved,
                   'first_human_response_at', min(c.created_at) filter (where c.author_kind = 'human'),
                   'first_ai_response_at', min(c.created_at) filter (where c.author_kind = 'ai'))
          into change
          from public.conversations c
         where c.dealership_id = entry.dealership_id and c.lead_id = survivor.id
           and c.direction = 'outbound' and c.channel <> 'note' and not c.auto_reply;
    end if;
    perform scope.change_lead(survivor.id, change);
    perform scope.change_lead(entry.merged_id, entry.merged_before);
    update public.merges j set undone_at = now(), undone_by = scope.user_id()
     where j.dealership_id = entry.dealership_id and j.id = entry.id
    returning j.* into entry;
end $$;

-- A message that waited for a merge must not land on the lead that is out of sight now.
create function scope.check_not_merged() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if (select l.merged_into from public.leads l
         where l.dealership_id = new.dealership_id and l.id = new.lead_id for no key update) is not null then
        raise exception 'the lead is merged into another'
            using errcode = 'check_violation', table = 'conversations', constraint = 'conversations_lead_merged';
    end if;
    return new;
end $$;

revoke execute on function scope.change_lead, scope.merge_leads, scope.undo_merge, scope.check_not_merged from public;
grant execute on function scope.merge_leads, scope.undo_merge to norvalt_writer;

reset role;

create trigger conversations_not_on_merged before insert on conversations
    for each row execute function scope.check_not_merged();
