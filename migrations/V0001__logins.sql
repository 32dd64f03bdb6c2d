-- The users that functions log in as, each with the narrowest grants, and norvalt_gate, which nobody
-- logs in as: it owns the few functions that must see past the policies (see V0003).
-- Users belong to the whole cluster, so a neighbouring database may have made them already or be making
-- them now. Passwords are no migration's business: `cargo dev migrate` or the deployment sets them.
do $$
declare
    login text;
begin
    foreach login in array array['norvalt_reader', 'norvalt_writer', 'norvalt_provisioner', 'norvalt_intake'] loop
        if not exists (select from pg_roles where rolname = login) then
            begin
                execute format('create role %I login noinherit', login);
                execute format('alter role %I set statement_timeout = %L', login, '5s');
                execute format('alter role %I set lock_timeout = %L', login, '2s');
                execute format('alter role %I set idle_in_transaction_session_timeout = %L', login, '10s');
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = 'norvalt_gate') then
        begin
            create role norvalt_gate nologin noinherit;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    -- Whoever migrates must be able to make functions in the gate's name. A superuser always can; from version 16
    -- on, having made the role is not enough.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        grant norvalt_gate to current_user;
    end if;
end $$;

grant usage on schema public to norvalt_reader, norvalt_writer, norvalt_provisioner, norvalt_intake, norvalt_gate;
