-- Inserts leads $1 to $2 of $4, over time one of each dealership in turn: lead i is of dealership i modulo $3, and its
-- k-th there. Run with session_replication_role = replica, so that no trigger and no foreign key is checked a million
-- times.
with numbered as (
    select i, i / $3::bigint as k, i % $3 as d, now() - ($4::bigint - i) * (interval '1 year' / $4::float8) as at
      from generate_series($1::bigint, $2::bigint - 1) i
), new_leads as (
    insert into leads (dealership_id, id, source, status, lost_reason, first_name, last_name, email, phone, phone_e164,
                       message, vehicle_of_interest, conversation_count, created_at, updated_at)
    select pg_temp.numbered('d', d), pg_temp.numbered('1', i),
           (array['website', 'email', 'phone', 'facebook'])[1 + k % 4],
           (array['new', 'new', 'contacted', 'contacted', 'qualified', 'won', 'lost', 'lost', 'new', 'new'])[1 + k % 10],
           case when k % 10 in (6, 7) then 'Bought elsewhere' end,
           (array['Kari', 'Ola', 'Ingrid', 'Lars', 'Åse', 'Per', 'Nina'])[1 + k % 7],
           (array['Hansen', 'Johansen', 'Olsen', 'Larsen', 'Andersen', 'Pedersen', 'Nilsen', 'Berg', 'Dahl', 'Lie', 'Moe'])[1 + k % 11],
           'kunde' || k || '@example.no', '4' || lpad(k::text, 7, '0'), '+474' || lpad(k::text, 7, '0'),
           'Hei, er bilen fortsatt ledig? Jeg vil gjerne prøvekjøre den en dag i neste uke.',
           'Volkswagen ID.' || 3 + k % 5, 3, at, at + interval '1 hour'
      from numbered
)
insert into conversations (dealership_id, id, lead_id, direction, channel, author_kind, body, created_at)
select pg_temp.numbered('d', d), pg_temp.numbered('2', i * 3 + n), pg_temp.numbered('1', i),
       case n when 1 then 'outbound' else 'inbound' end, 'email', case n when 1 then 'human' else 'customer' end,
       'Ja, den er ledig. Passer det på torsdag klokken fem, eller er lørdag formiddag bedre?', at + n * interval '20 minutes'
  from numbered, generate_series(0, 2) n
