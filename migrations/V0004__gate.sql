-- The gate: the only ways into a scope, and the only functions that see past the policies. They run as
-- norvalt_gate, name every object in full and take nothing but verified claims (or, for the public form,
-- the dealership's id). A refusal raises, which aborts the transaction: the statement pipelined behind it
-- cannot run unscoped. The SQLSTATEs are translated in shared/src/db/error.rs.
--   NV001 not known here yet (provision and try again)   NV002 removed from the dealership
--   NV003 the role was lowered after the token was issued NV004 dealership suspended or deleted
--   NV005 no such dealership
set local role norvalt_gate;

create function scope.role_rank(name text) returns integer language sql immutable parallel safe
    return case name when 'admin' then 3 when 'manager' then 2 when 'sales_rep' then 1 else 0 end;

-- Enters the scope of a member, if the membership lives. `issued_at` is the token's iat in seconds.
-- Returns the dealership, for the log.
create function scope.enter_member(org text, person text, token_role text, issued_at bigint) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    member record;
begin
    select d.id as dealership_id, d.subscription_status, d.deleted_at,
           m.user_id, m.role, m.role_at, m.removed_at
      into member
      from public.dealerships d
      left join public.users u on u.clerk_user_id = person
      left join public.memberships m on m.dealership_id = d.id and m.user_id = u.id
     where d.clerk_org_id = org;

    if member.deleted_at is not null or member.subscription_status = 'suspended' then
        raise exception 'dealership suspended' using errcode = 'NV004';
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

-- Just-in-time provisioning: a session token can arrive before Clerk's webhook. Version 0 lets the
-- webhook, whatever its timestamp, still fill the rows in. A membership that was removed comes back only
-- for a token issued after the removal, and a role changes only for a token issued after the role was set.
create function scope.provision(org text, org_slug text, person text, token_role text, issued_at bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.dealerships (clerk_org_id, name, slug)
    values (org, coalesce(org_slug, org), org_slug)
    on conflict on constraint dealerships_clerk_org_id_key do nothing;

    insert into public.users (clerk_user_id) values (person)
    on conflict on constraint users_clerk_user_id_key do nothing;

    insert into public.memberships as m (dealership_id, user_id, role, role_at)
    select d.id, u.id, token_role, to_timestamp(issued_at)
      from public.dealerships d, public.users u
     where d.clerk_org_id = org and u.clerk_user_id = person
       and d.deleted_at is null and u.deleted_at is null
    on conflict on constraint memberships_pkey do update
       set role = excluded.role, role_at = excluded.role_at, removed_at = null,
           clerk_membership_id = case when m.removed_at is null then m.clerk_membership_id end
     where excluded.role_at > greatest(m.role_at, m.removed_at);
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

revoke execute on function scope.enter_member, scope.provision, scope.enter_intake, scope.enter_provisioning from public;
grant execute on function scope.enter_member, scope.provision to norvalt_reader, norvalt_writer;
grant execute on function scope.enter_intake to norvalt_intake;
grant execute on function scope.enter_provisioning to norvalt_provisioner;

reset role;
