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
    constraint conversations_dealership_fkey foreign key (dealership_id) references dealerships (id),
    constraint conversations_lead_fkey foreign key (dealership_id, lead_id) references leads (dealership_id, id),
    constraint conversations_author_fkey foreign key (dealership_id, author_id) references memberships (dealership_id, user_id),
    constraint conversations_direction_check check (direction in ('inbound', 'outbound')),
    constraint conversations_channel_check check (channel in ('email', 'sms', 'facebook', 'phone', 'note')),
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
