-- Clerk's events converge: whatever order they come in, and however often, the rows end up the same.

-- What Clerk has deleted, by its own id: organizations, users and memberships. Nothing brings one back, and the
-- id outlives the row, so that a message replayed after the purge makes nothing new.
create table clerk_tombstones (
    clerk_id text not null,
    deleted_at timestamptz not null,
    constraint clerk_tombstones_pkey primary key (clerk_id),
    constraint clerk_tombstones_clerk_id_check check (clerk_id ~ '^(org|user|orgmem)_')
);

alter table clerk_tombstones enable row level security;
alter table clerk_tombstones force row level security;
create policy clerk_tombstones_provisioner on clerk_tombstones to norvalt_provisioner
    using ((select scope.is_provisioning())) with check ((select scope.is_provisioning()));
create policy clerk_tombstones_gate on clerk_tombstones to norvalt_gate using (true) with check (true);
grant select, insert on clerk_tombstones to norvalt_provisioner, norvalt_gate;

-- A membership's event carries a copy of the organization and the person. It fills a row that has no event of its
-- own (clerk_version 0), the newest copy winning.
alter table dealerships add column embedded_version bigint not null default 0;
alter table users add column embedded_version bigint not null default 0;

alter table memberships
    -- The iat of the token that last made or revived the row: a removal before it is of an earlier membership.
    add column confirmed_at timestamptz,
    -- The newest removal, in ms, of another membership than the row's: nothing older brings a removed row back.
    add column left_version bigint not null default 0,
    -- The earliest membership of the two that Clerk told of, in ms: it decides who was first.
    add column joined_version bigint,
    -- Clerk named no role, or the legacy basic_member: the first member is the admin, the others sales reps.
    add column role_is_presumed boolean not null default false;

-- Every signed message is kept, also one that is no event.
alter table webhook_inbox
    alter column event_type drop not null,
    alter column payload drop not null,
    add column outcome text not null default 'applied',
    add column occurred_at timestamptz,
    -- Whom it is about, so that a deleted person can be forgotten here too.
    add column clerk_user_id text,
    -- As it came, when it is malformed.
    add column body text,
    add constraint webhook_inbox_outcome_check check (outcome in ('applied', 'ignored', 'malformed'));
create index webhook_inbox_user_idx on webhook_inbox (clerk_user_id);
create index webhook_inbox_malformed_idx on webhook_inbox (received_at) where outcome = 'malformed';
grant update (payload) on webhook_inbox to norvalt_provisioner;

-- Who wrote a message is shown by name, also after they have left.
grant select (id, first_name, last_name) on users to norvalt_reader, norvalt_writer;
grant select (dealership_id, user_id, removed_at) on memberships to norvalt_reader, norvalt_writer;

-- A purged dealership takes all that is its own with it. Nobody can delete one but scope.purge.
do $$
declare
    key record;
begin
    for key in select conrelid::regclass as of_table, conname, conkey from pg_constraint
                where contype = 'f' and confrelid = 'public.dealerships'::regclass and confdeltype <> 'c' loop
        execute format('alter table %s drop constraint %I, add constraint %I foreign key (dealership_id)
                        references public.dealerships (id) on delete cascade', key.of_table, key.conname, key.conname);
    end loop;
end $$;
grant delete on dealerships to norvalt_gate;

set local role norvalt_gate;

-- Until the transaction ends, whatever else is about this organization or person waits. Whoever locks both locks
-- the organization first.
create function scope.lock_clerk_id(clerk_id text) returns void language sql volatile
    return pg_advisory_xact_lock(hashtextextended(clerk_id, 0));

-- As before, and a deleted person is refused everywhere.
create or replace function scope.enter_member(org text, person text, token_role text, issued_at bigint) returns uuid
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
            set_config('norvalt.role', token_role, true);
    return member.dealership_id;
end $$;

-- As before, and never against a tombstone. Without a token_role the token names none: that is no assertion, and
-- whatever Clerk's events say stands.
create or replace function scope.provision(org text, org_slug text, person text, token_role text, issued_at bigint) returns void
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

-- The grace period is over: removes the dealerships deleted before then with all that is theirs, and says how many.
-- The tombstones stay.
create function scope.purge(before timestamptz) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    purged bigint;
begin
    insert into public.clerk_tombstones (clerk_id, deleted_at)
    select clerk_org_id, deleted_at from public.dealerships where deleted_at < before
    on conflict do nothing;
    delete from public.dealerships where deleted_at < before;
    get diagnostics purged = row_count;
    return purged;
end $$;

revoke execute on function scope.lock_clerk_id, scope.purge from public;
grant execute on function scope.lock_clerk_id, scope.purge to norvalt_provisioner;

reset role;
