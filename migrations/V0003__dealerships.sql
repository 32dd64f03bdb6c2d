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
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint dealerships_pkey primary key (id),
    constraint dealerships_clerk_org_id_key unique (clerk_org_id),
    constraint dealerships_clerk_org_id_check check (clerk_org_id like 'org\_%'),
    constraint dealerships_country_check check (country ~ '^[A-Z]{2}$'),
    constraint dealerships_subscription_tier_check
        check (subscription_tier in ('trial', 'starter', 'professional', 'enterprise')),
    constraint dealerships_subscription_status_check
        check (subscription_status in ('active', 'past_due', 'suspended', 'canceled'))
);

create table users (
    id uuid not null default scope.uuid_v7(),
    clerk_user_id text not null,
    email text,
    first_name text,
    last_name text,
    clerk_version bigint not null default 0,
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
    constraint memberships_pkey primary key (dealership_id, user_id),
    constraint memberships_dealership_fkey foreign key (dealership_id) references dealerships (id),
    constraint memberships_user_fkey foreign key (user_id) references users (id),
    constraint memberships_role_check check (role in ('admin', 'manager', 'sales_rep'))
);
create index memberships_user_idx on memberships (user_id);

create table webhook_inbox (
    provider text not null,
    message_id text not null,
    event_type text not null,
    payload jsonb not null,
    received_at timestamptz not null default now(),
    constraint webhook_inbox_pkey primary key (provider, message_id),
    constraint webhook_inbox_provider_check check (provider in ('clerk'))
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
grant select, insert on webhook_inbox to norvalt_provisioner;
