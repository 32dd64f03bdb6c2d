-- Ten leads for each dealership, 1 to 10 for Tesla Oslo and 11 to 20 for VW Bergen, and what became of them.
-- seed.rs has put in the dealerships and the people.
-- Ids are fixed and what is there stays as it is, so this can run again; times count back from the first run.
create or replace function pg_temp.seed_id(kind integer, n integer) returns uuid language sql immutable strict
    return format('019a0000-0000-7000-8000-%s', lpad((kind * 100 + n)::text, 12, '0'))::uuid;

create or replace function pg_temp.seed_dealership(named text) returns uuid language sql stable
    return (select id from dealerships where clerk_org_id = 'org_' || replace(named, '-', '_'));

create or replace function pg_temp.seed_user(named text) returns uuid language sql stable
    return (select id from users where clerk_user_id like 'user\_' || named || '\_%');

insert into vehicles (id, dealership_id, registration_number, make, model, model_year, condition, status, price_minor)
select pg_temp.seed_id(20, n), pg_temp.seed_dealership(slug), registration, make, model, year, condition, status, kroner * 100
  from (values
    (1, 'tesla-oslo', null,      'Tesla',      'Model Y Long Range',   2026, 'new',  'available', 529900),
    (2, 'tesla-oslo', null,      'Tesla',      'Model 3 Performance',  2026, 'new',  'available', 574900),
    (3, 'tesla-oslo', 'EV21834', 'Tesla',      'Model S Plaid',        2023, 'used', 'reserved',  799000),
    (4, 'tesla-oslo', 'EB70412', 'Tesla',      'Model 3 Long Range',   2022, 'demo', 'sold',      329000),
    (5, 'vw-bergen',  null,      'Volkswagen', 'ID.4 GTX 4MOTION',     2026, 'new',  'available', 519900),
    (6, 'vw-bergen',  null,      'Volkswagen', 'ID. Buzz Pro',         2026, 'new',  'available', 649900),
    (7, 'vw-bergen',  'SV55210', 'Volkswagen', 'Golf GTE',             2021, 'used', 'available', 259000)
  ) as v (n, slug, registration, make, model, year, condition, status, kroner)
on conflict do nothing;

insert into leads (id, dealership_id, source, status, lost_reason, first_name, last_name, email, phone, phone_e164,
                   company, message, vehicle_id, vehicle_of_interest, assigned_to, attribution, created_at, updated_at)
select pg_temp.seed_id(10, n), pg_temp.seed_dealership(slug), source, status, lost_reason, first_name, last_name, email,
       phone, '+47' || replace(phone, ' ', ''), company, message, pg_temp.seed_id(20, vehicle), interest,
       pg_temp.seed_user(assignee), attribution::jsonb, now() - age::interval, now() - age::interval
  from (values
    (1,  'tesla-oslo', 'website', 'new', null, 'Åse', 'Bjørnstad', 'ase.bjornstad@post.example', '400 00 101', null,
         'Hei! Er Model Y på lager i Oslo, og hva blir månedsprisen?', 1, 'Tesla Model Y', null,
         '{"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "model-y-host", "gclid": "Cj0KCQiA-seed-1", "landing_page": "https://www.teslaoslo.example/model-y"}',
         '25 minutes'),
    (2,  'tesla-oslo', 'facebook', 'new', null, 'Håkon', 'Sæther', 'hakon.saether@post.example', '400 00 102', null,
         'Så annonsen deres. Tar dere bil i innbytte?', null, 'Tesla Model 3', 'nina',
         '{"utm_source": "facebook", "utm_medium": "paid_social", "fbclid": "IwAR0-seed-2"}', '2 hours'),
    (3,  'tesla-oslo', 'google_ads', 'contacted', null, 'Ingrid', 'Ødegård', 'ingrid.odegard@post.example', '400 00 103', null,
         'Ønsker prøvekjøring på lørdag.', 2, 'Tesla Model 3 Performance', 'nina',
         '{"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "provekjoring", "gclid": "Cj0KCQiA-seed-3"}', '1 day 3 hours'),
    (4,  'tesla-oslo', 'phone', 'contacted', null, 'Bjørn', 'Ålesund', null, '400 00 104', null,
         null, null, 'Tesla Model X', 'ola', '{}', '1 day 6 hours'),
    (5,  'tesla-oslo', 'email', 'qualified', null, 'Marte', 'Kjærstad', 'marte@fjordtaxi.example', '400 00 105', 'Fjordtaxi AS',
         'Vi skal bytte ut fem biler og trenger et samlet tilbud.', 1, 'Tesla Model Y', 'ola', '{}', '3 days'),
    (6,  'tesla-oslo', 'marketplace', 'qualified', null, 'Sindre', 'Grønli', 'sindre.gronli@post.example', '400 00 106', null,
         'Er Model S Plaid fortsatt til salgs?', 3, 'Tesla Model S Plaid', 'nina',
         '{"referrer": "https://www.bilmarked.example/"}', '4 days'),
    (7,  'tesla-oslo', 'walk_in', 'won', null, 'Torunn', 'Vågen', 'torunn.vagen@post.example', '400 00 107', null,
         null, 4, 'Tesla Model 3', 'nina', '{}', '12 days'),
    (8,  'tesla-oslo', 'referral', 'won', null, 'Lars', 'Brækhus', 'lars.braekhus@post.example', '400 00 108', null,
         'Anbefalt av en kollega.', 1, 'Tesla Model Y', 'ola', '{}', '15 days'),
    (9,  'tesla-oslo', 'website', 'lost', 'Valgte et annet merke', 'Silje', 'Hågensen', 'silje.hagensen@post.example', '400 00 109', null,
         'Hva er leveringstiden?', null, 'Tesla Model 3', 'nina',
         '{"utm_source": "newsletter", "utm_medium": "email"}', '18 days'),
    (10, 'tesla-oslo', 'sms', 'lost', 'For dyrt', 'Jørgen', 'Tømmerås', null, '400 00 110', null,
         'hva koster en brukt model s?', null, 'Tesla Model S', null, '{}', '21 days'),
    (11, 'vw-bergen', 'adf', 'new', null, 'Øyvind', 'Lægreid', 'oyvind.laegreid@post.example', '400 00 111', null,
         'Ring meg gjerne etter kl. 16.', 5, 'VW ID.4', null, '{}', '5 hours'),
    (12, 'vw-bergen', 'api', 'won', null, 'Anne Grete', 'Myhre', 'innkjop@nordlyslast.example', '400 00 112', 'Nordlys Last AS',
         'Trenger firmabil med hengerfeste.', null, 'VW ID. Buzz Cargo', 'ola', '{}', '7 days'),
    (13, 'vw-bergen', 'website', 'new', null, 'Kåre', 'Bønes', 'kare.bones@post.example', '400 00 113', null,
         'Kan jeg få se ID. Buzz i helgen?', 6, 'VW ID. Buzz', null,
         '{"utm_source": "google", "utm_medium": "organic", "landing_page": "https://www.vwbergen.example/id-buzz"}', '40 minutes'),
    (14, 'vw-bergen', 'facebook', 'contacted', null, 'Sølvi', 'Åsane', 'solvi.asane@post.example', '400 00 114', null,
         'Hvor lang rekkevidde har ID.4 om vinteren?', 5, 'VW ID.4', 'nina',
         '{"utm_source": "facebook", "utm_medium": "paid_social", "utm_campaign": "id4-vinter", "fbclid": "IwAR0-seed-14"}', '8 hours'),
    (15, 'vw-bergen', 'marketplace', 'qualified', null, 'Gunnar', 'Fløyen', 'gunnar.floyen@post.example', '400 00 115', null,
         'Interessert i Golfen, kan dere sende servicehistorikken?', 7, 'VW Golf GTE', 'nina',
         '{"referrer": "https://www.bilmarked.example/"}', '2 days'),
    (16, 'vw-bergen', 'email', 'won', null, 'Randi', 'Sørås', 'randi@vestlandvvs.example', '400 00 116', 'Vestland VVS AS',
         'Tilbud på to varebiler, takk.', null, 'VW ID. Buzz Cargo', 'ola', '{}', '10 days'),
    (17, 'vw-bergen', 'walk_in', 'lost', 'Fikk ikke finansiering', 'Eirik', 'Nygård', 'eirik.nygard@post.example', '400 00 117', null,
         null, null, 'VW ID.3', 'nina', '{}', '9 days'),
    (18, 'vw-bergen', 'phone', 'new', null, 'Unni', 'Skålevik', null, '400 00 118', null,
         'Ringte om verkstedtime og ny bil.', null, 'VW ID.7 Tourer', null, '{}', '3 hours'),
    (19, 'vw-bergen', 'manual', 'contacted', null, 'Thorbjørn', 'Eikås', 'thorbjorn.eikas@post.example', '400 00 119', null,
         null, 5, 'VW ID.4 GTX', 'ola', '{}', '5 days'),
    (20, 'vw-bergen', 'referral', 'qualified', null, 'Liv', 'Hjelmås', 'liv.hjelmas@post.example', '400 00 120', null,
         'Søsteren min kjøpte hos dere og var fornøyd.', 6, 'VW ID. Buzz', null, '{}', '6 days')
  ) as l (n, slug, source, status, lost_reason, first_name, last_name, email, phone, company, message, vehicle, interest,
          assignee, attribution, age)
on conflict do nothing;

-- The trigger counts them and sets the leads' first response times.
insert into conversations (id, dealership_id, lead_id, direction, channel, author_kind, author_id, auto_reply, body,
                           message_metadata, created_at)
select pg_temp.seed_id(40, n), lead.dealership_id, lead.id, direction, channel, author_kind, pg_temp.seed_user(author),
       auto_reply, body, metadata::jsonb, lead.created_at + after::interval
  from (values
    (1,  1,  'inbound',  'email',    'customer', null,   false, 'Hei! Er Model Y på lager i Oslo, og hva blir månedsprisen?', '{"subject": "Model Y"}', '0 minutes'),
    (2,  1,  'outbound', 'email',    'ai',       null,   false, 'Hei Åse! Ja, vi har Model Y på lager. En selger sender deg et regnestykke i dag.', '{"model": "assistant-1"}', '1 minute'),
    (3,  2,  'inbound',  'facebook', 'customer', null,   false, 'Så annonsen deres. Tar dere bil i innbytte?', '{"page": "Tesla Oslo"}', '0 minutes'),
    (4,  2,  'outbound', 'facebook', 'system',   null,   true,  'Takk for meldingen! Vi svarer så snart vi kan.', '{}', '5 seconds'),
    (5,  3,  'inbound',  'email',    'customer', null,   false, 'Ønsker prøvekjøring på lørdag.', '{"subject": "Prøvekjøring"}', '0 minutes'),
    (6,  3,  'outbound', 'email',    'ai',       null,   false, 'Hei Ingrid! Lørdag passer fint. Er kl. 11 greit?', '{"model": "assistant-1"}', '1 minute'),
    (7,  3,  'outbound', 'email',    'human',    'nina', false, 'Da er du satt opp lørdag kl. 11. Husk førerkort!', '{}', '42 minutes'),
    (8,  3,  'inbound',  'email',    'customer', null,   false, 'Supert, vi sees!', '{}', '2 hours'),
    (9,  4,  'inbound',  'phone',    'customer', null,   false, 'Spurte om Model X med hengerfeste.', '{"seconds": 312}', '0 minutes'),
    (10, 4,  'outbound', 'note',     'human',    'ola',  false, 'Vil ha svar før helgen, ring etter lunsj.', '{}', '10 minutes'),
    (11, 4,  'outbound', 'phone',    'human',    'ola',  false, 'Gikk gjennom pris og leveringstid.', '{"seconds": 540}', '5 hours'),
    (12, 5,  'inbound',  'email',    'customer', null,   false, 'Vi skal bytte ut fem biler og trenger et samlet tilbud.', '{"subject": "Flåtetilbud"}', '0 minutes'),
    (13, 5,  'outbound', 'email',    'human',    'ola',  false, 'Hei Marte, tilbudet ligger vedlagt. Skal vi ta en prat i morgen?', '{"attachments": ["tilbud-fjordtaxi.pdf"]}', '3 hours'),
    (14, 6,  'inbound',  'email',    'customer', null,   false, 'Er Model S Plaid fortsatt til salgs?', '{}', '0 minutes'),
    (15, 6,  'outbound', 'sms',      'human',    'nina', false, 'Hei Sindre, den er reservert for deg til fredag.', '{}', '25 minutes'),
    (16, 7,  'outbound', 'note',     'human',    'nina', false, 'Var innom og kjøpte demobilen. Levering på mandag.', '{}', '1 hour'),
    (17, 8,  'outbound', 'email',    'human',    'ola',  false, 'Kontrakten er klar til signering.', '{"attachments": ["kontrakt.pdf"]}', '1 day'),
    (18, 9,  'inbound',  'email',    'customer', null,   false, 'Hva er leveringstiden?', '{}', '0 minutes'),
    (19, 9,  'outbound', 'email',    'human',    'nina', false, 'Akkurat nå omtrent seks uker.', '{}', '1 day 2 hours'),
    (20, 12, 'outbound', 'email',    'human',    'ola',  false, 'Hei Anne Grete, ID. Buzz Cargo kan leveres med hengerfeste.', '{}', '4 hours'),
    (21, 13, 'inbound',  'email',    'customer', null,   false, 'Kan jeg få se ID. Buzz i helgen?', '{}', '0 minutes'),
    (22, 14, 'inbound',  'facebook', 'customer', null,   false, 'Hvor lang rekkevidde har ID.4 om vinteren?', '{"page": "VW Bergen"}', '0 minutes'),
    (23, 14, 'outbound', 'facebook', 'human',    'nina', false, 'Rundt 350 km på en kald dag, med varmepumpe.', '{}', '50 minutes'),
    (24, 15, 'inbound',  'email',    'customer', null,   false, 'Interessert i Golfen, kan dere sende servicehistorikken?', '{}', '0 minutes'),
    (25, 15, 'outbound', 'email',    'human',    'nina', false, 'Her er servicehistorikken. Full service hos oss.', '{"attachments": ["service-golf.pdf"]}', '2 hours'),
    (26, 16, 'inbound',  'email',    'customer', null,   false, 'Tilbud på to varebiler, takk.', '{}', '0 minutes'),
    (27, 16, 'outbound', 'email',    'human',    'ola',  false, 'Tilbudet ligger vedlagt, med rabatt for to.', '{"attachments": ["tilbud-vestland-vvs.pdf"]}', '6 hours'),
    (28, 17, 'outbound', 'note',     'human',    'nina', false, 'Banken sa nei til lånet. Vil prøve igjen til våren.', '{}', '2 hours'),
    (29, 18, 'inbound',  'phone',    'customer', null,   false, 'Ringte om verkstedtime og ny bil.', '{"seconds": 148}', '0 minutes'),
    (30, 19, 'outbound', 'sms',      'human',    'ola',  false, 'Hei Thorbjørn, GTX-en står klar for prøvekjøring.', '{}', '30 minutes'),
    (31, 20, 'inbound',  'email',    'customer', null,   false, 'Søsteren min kjøpte hos dere og var fornøyd.', '{}', '0 minutes')
  ) as c (n, lead, direction, channel, author_kind, author, auto_reply, body, metadata, after)
  join leads lead on lead.id = pg_temp.seed_id(10, c.lead)
on conflict do nothing;

insert into automation_rules (id, dealership_id, name, trigger, conditions, actions)
values (pg_temp.seed_id(30, 1), pg_temp.seed_dealership('tesla-oslo'), 'Svar på nye nettskjema', 'lead_created',
        '{"source": "website"}', '[{"type": "ai_reply", "channel": "email"}]'),
       (pg_temp.seed_id(30, 2), pg_temp.seed_dealership('vw-bergen'), 'Purr etter en dag uten svar', 'no_response',
        '{"hours": 24}', '[{"type": "notify", "role": "manager"}]')
on conflict do nothing;

-- The count above touched its leads just now; they last changed with their last message.
set local session_replication_role = replica;
update leads
   set updated_at = coalesce((select max(c.created_at) from conversations c
                               where c.dealership_id = leads.dealership_id and c.lead_id = leads.id), created_at)
 where updated_at = now() and id between pg_temp.seed_id(10, 1) and pg_temp.seed_id(10, 20);
set local session_replication_role = default;

-- What the forms hold back, for a person to look at.
insert into submissions (id, dealership_id, received_at, content_type, headers, body, content_hash, verdict, reasons,
                         enquiry, mapping_version)
select pg_temp.seed_id(50, n), pg_temp.seed_dealership(slug), now() - age::interval, 'application/json',
       jsonb_build_object('content-type', 'application/json', 'origin', origin), convert_to(body, 'UTF8'),
       sha256(convert_to(body, 'UTF8')), verdict, string_to_array(reason, ' '), enquiry::jsonb, 0
  from (values
    (1, 'tesla-oslo', '2 hours', 'https://www.teslaoslo.example', 'held', 'token_stale',
     '{"Navn": "Sigrid Moe", "E-post": "sigrid.moe@post.example", "Melding": "Kan jeg prøve Model Y på lørdag?"}',
     '{"first_name": "Sigrid", "last_name": "Moe", "email": "sigrid.moe@post.example", "message": "Kan jeg prøve Model Y på lørdag?"}'),
    (2, 'tesla-oslo', '3 hours', 'https://www.teslaoslo.example', 'spam', 'honeypot',
     '{"email": "offers@spam.example", "message": "Cheap backlinks", "_gotcha": "https://spam.example"}',
     '{"email": "offers@spam.example", "message": "Cheap backlinks"}'),
    (3, 'vw-bergen', '1 hour', 'https://www.vwbergen.example', 'held', 'no_contact',
     '{"Navn": "Jon", "Melding": "Ring meg om Golf GTE"}',
     '{"first_name": "Jon", "message": "Ring meg om Golf GTE"}')
  ) as s (n, slug, age, origin, verdict, reason, body, enquiry)
on conflict do nothing;
