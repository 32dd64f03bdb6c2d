-- What a dealership wants done by itself; no function reads it yet.
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
    constraint automation_rules_dealership_fkey foreign key (dealership_id) references dealerships (id),
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
