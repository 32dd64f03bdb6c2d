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
    constraint vehicles_dealership_fkey foreign key (dealership_id) references dealerships (id),
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
    constraint leads_pkey primary key (dealership_id, id),
    constraint leads_dealership_fkey foreign key (dealership_id) references dealerships (id),
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
    constraint leads_consent_check check (jsonb_typeof(consent) = 'object')
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
create trigger leads_before_update before update on leads
    for each row execute function leads_before_update();

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
create policy leads_intake on leads for insert to norvalt_intake
    with check (dealership_id = (select scope.dealership_id()) and assigned_to is null);

grant select on leads to norvalt_reader, norvalt_writer;
grant insert (id, source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_id,
              vehicle_of_interest, assigned_to, attribution, consent) on leads to norvalt_writer;
grant update (status, lost_reason, source, first_name, last_name, email, phone, phone_e164, company, message,
              vehicle_id, vehicle_of_interest, assigned_to, attribution, consent, first_human_response_at,
              first_ai_response_at, conversation_count, deleted_at) on leads to norvalt_writer;
grant insert (source, first_name, last_name, email, phone, phone_e164, company, message,
              vehicle_of_interest, attribution, consent) on leads to norvalt_intake;
