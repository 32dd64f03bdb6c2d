-- What a scheduled reconciliation with Clerk needs: a purge in bounded steps, an inbox that forgets, and a role for
-- whoever's token names none.

-- A lead takes its messages with it, as a dealership already takes its leads.
alter table conversations
    drop constraint conversations_lead_fkey,
    add constraint conversations_lead_fkey foreign key (dealership_id, lead_id)
        references leads (dealership_id, id) on delete cascade;

-- The gate, too, sees one dealership's leads at a time.
create policy leads_gate on leads to norvalt_gate
    using (dealership_id = (select scope.dealership_id())) with check (dealership_id = (select scope.dealership_id()));
grant select (dealership_id, id), delete on leads to norvalt_gate;

-- Messages are kept for some weeks, and found by their age.
create index webhook_inbox_received_idx on webhook_inbox (received_at);
grant delete on webhook_inbox to norvalt_provisioner;

set local role norvalt_gate;

-- As before, and a token that names no role speaks with the row's, which Clerk's signed events alone keep.
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

-- The grace period is over: one step in removing what was deleted before then. Of one dealership it removes so many
-- leads at the most, with all that hangs on them, and once none is left the dealership, with all that is its own.
-- Says how many of each went: nothing means that nothing is left. The tombstones stay.
drop function scope.purge(timestamptz);
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

revoke execute on function scope.require_role, scope.purge from public;
grant execute on function scope.require_role to norvalt_reader, norvalt_writer;
grant execute on function scope.purge to norvalt_provisioner;

reset role;
