-- The view that postrust shows, and the function that it runs before each statement, which calls the gate with the claims.
create schema if not exists postrust;
grant usage on schema postrust to norvalt_reader;

create or replace view postrust.leads with (security_invoker) as
select l.id, l.source, l.status, l.lost_reason, l.first_name, l.last_name, l.email, l.phone, l.phone_e164, l.company, l.message,
       l.vehicle_id, l.vehicle_of_interest, l.assigned_to, l.attribution, l.consent, l.first_human_response_at,
       l.first_ai_response_at, l.conversation_count, l.created_at, l.updated_at,
       (select json_build_object('id', c.id, 'direction', c.direction, 'channel', c.channel, 'author_kind', c.author_kind,
                                 'body', c.body, 'created_at', c.created_at)
          from conversations c where c.dealership_id = l.dealership_id and c.lead_id = l.id
         order by c.created_at desc, c.id desc limit 1) as last_message
  from leads l where l.deleted_at is null;
grant select on postrust.leads to norvalt_reader;

create or replace function postrust.enter() returns void language sql volatile as $$
    select scope.enter_member(claims->'o'->>'id', claims->>'sub', claims->'o'->>'rol', (claims->>'iat')::bigint)
      from (select current_setting('request.jwt.claims')::json as claims) token
$$;
