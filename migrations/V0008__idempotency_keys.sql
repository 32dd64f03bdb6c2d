-- What an Idempotency-Key made, so that a repeated POST answers with it instead of making a second one.
-- The caller is the member, or the nil UUID for the public form, whose user can insert and see nothing.
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
    constraint idempotency_keys_dealership_fkey foreign key (dealership_id) references dealerships (id),
    constraint idempotency_keys_key_check check (char_length(key) between 1 and 255)
);

alter table idempotency_keys enable row level security;
alter table idempotency_keys force row level security;
create policy idempotency_keys_member on idempotency_keys to norvalt_writer
    using (dealership_id = (select scope.dealership_id()) and caller = (select scope.user_id()))
    with check (dealership_id = (select scope.dealership_id()) and caller = (select scope.user_id()));
create policy idempotency_keys_intake on idempotency_keys for insert to norvalt_intake
    with check (dealership_id = (select scope.dealership_id())
                and caller = '00000000-0000-0000-0000-000000000000');

grant select, insert (route, key, request_hash, resource_id) on idempotency_keys to norvalt_writer;
grant insert (route, key, request_hash) on idempotency_keys to norvalt_intake;
