-- Two leads of one customer become one, and the journal can take them apart again.
alter table leads
    -- The lead that this one was merged into. It has its messages, and this one is out of sight like a deleted one.
    add column merged_into uuid,
    add constraint leads_merged_into_fkey foreign key (dealership_id, merged_into) references leads (dealership_id, id)
        on delete cascade,
    add constraint leads_merged_into_check check (merged_into is null or (merged_into <> id and deleted_at is not null));
create index leads_merged_into_idx on leads (dealership_id, merged_into) where merged_into is not null;

-- A row that is put back as it was says its version itself, and is not counted. The gate alone may: nobody else has
-- the column's grant.
create or replace trigger leads_before_update before update on leads
    for each row when (new.version = old.version) execute function leads_before_update();

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
