-- The scope: the transaction-local settings under which every statement runs. The policies read it
-- through these functions only, so that how it is carried can change in one place.
-- After the transaction that set it a setting is '', not NULL: hence nullif.
create schema scope;
grant usage on schema scope to norvalt_reader, norvalt_writer, norvalt_provisioner, norvalt_intake;
grant usage, create on schema scope to norvalt_gate;

create function scope.dealership_id() returns uuid language sql stable parallel safe
    return nullif(current_setting('norvalt.dealership_id', true), '')::uuid;

create function scope.user_id() returns uuid language sql stable parallel safe
    return nullif(current_setting('norvalt.user_id', true), '')::uuid;

create function scope.role() returns text language sql stable parallel safe
    return nullif(current_setting('norvalt.role', true), '');

-- Admins and managers see every lead of their dealership, a sales rep the ones assigned to them.
create function scope.sees_all_leads() returns boolean language sql stable parallel safe
    return coalesce(scope.role() in ('admin', 'manager'), false);

-- Clerk's webhooks belong to no dealership: they write dealerships, users and memberships.
create function scope.is_provisioning() returns boolean language sql stable parallel safe
    return coalesce(current_setting('norvalt.provisioning', true) = 'on', false);

-- A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random; new rows land at an index's end.
create function scope.uuid_v7() returns uuid language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;
