//! The SQL of each change. The statements of one change run in one transaction and see each other's work. Before them
//! the caller takes the locks: `scope.lock_clerk_id` of [`Change::organization_id`], then of [`Change::user_id`].
//!
//! Three rules make the order of arrival irrelevant: a tombstone always wins; of two assertions about the same thing
//! the newer one wins; and a removal affects only the membership that it names.
use super::event::{Change, Membership, Organization, User};
use shared::db::{NamedSql, Param, Statement};

const TOMBSTONE: &str = "
    insert into clerk_tombstones (clerk_id, deleted_at) values ($1, to_timestamp($2::bigint / 1000.0))
    on conflict do nothing";

/// From the organization's own object ($4 is its time, $5 is 0), or from the copy in a membership ($4 is 0), which
/// never replaces the organization's own. A copy without a name is ignored. A deleted dealership is updated, too, and
/// stays deleted; a purged one is not made again.
const PUT_DEALERSHIP: &str = "
    insert into dealerships as d (clerk_org_id, name, slug, clerk_version, embedded_version)
    select $1, coalesce($2, $1), $3, $4, case when $2 is null then 0 else $5 end
     where not exists (select from clerk_tombstones where clerk_id = $1)
        or exists (select from dealerships where clerk_org_id = $1)
    on conflict on constraint dealerships_clerk_org_id_key do update
       set name = coalesce($2, d.name), slug = excluded.slug, clerk_version = excluded.clerk_version,
           embedded_version = excluded.embedded_version, updated_at = now()
     where (d.clerk_version, d.embedded_version) < (excluded.clerk_version, excluded.embedded_version)";

/// Reads and writes stop at once, and the grace period starts. It runs before its tombstone: with a tombstone and
/// without a row the dealership has been purged.
const DELETE_DEALERSHIP: &str = "
    insert into dealerships as d (clerk_org_id, name, deleted_at)
    select $1, $1, now() where not exists (select from clerk_tombstones where clerk_id = $1)
        or exists (select from dealerships where clerk_org_id = $1)
    on conflict on constraint dealerships_clerk_org_id_key do update
       set deleted_at = coalesce(d.deleted_at, excluded.deleted_at), updated_at = now()";

/// The same for a person. The copy in a membership has no e-mail address, and a copy without a name is ignored. A
/// deleted person is not updated.
const PUT_USER: &str = "
    insert into users as u (clerk_user_id, email, first_name, last_name, clerk_version, embedded_version)
    values ($1, $2, $3, $4, $5, case when coalesce($3, $4) is null then 0 else $6 end)
    on conflict on constraint users_clerk_user_id_key do update
       set email = case when $5 = 0 then u.email else excluded.email end,
           first_name = excluded.first_name, last_name = excluded.last_name,
           clerk_version = excluded.clerk_version, embedded_version = excluded.embedded_version, updated_at = now()
     where u.deleted_at is null
       and (u.clerk_version, u.embedded_version) < (excluded.clerk_version, excluded.embedded_version)";

/// The row stays without a name, so that the person's messages still have an author.
const DELETE_USER: &str = "
    insert into users as u (clerk_user_id, clerk_version, deleted_at) values ($1, $2, to_timestamp($2::bigint / 1000.0))
    on conflict on constraint users_clerk_user_id_key do update
       set email = null, first_name = null, last_name = null, clerk_version = excluded.clerk_version,
           deleted_at = coalesce(u.deleted_at, excluded.deleted_at), updated_at = now()";

const LEAVE_EVERYWHERE: &str = "
    update memberships set removed_at = greatest(removed_at, to_timestamp($2::bigint / 1000.0))
     where user_id = (select id from users where clerk_user_id = $1)";

/// Forgets what earlier and late messages say of a deleted person.
const FORGET: &str = "
    update webhook_inbox set payload = null
     where clerk_user_id = $1 and payload is not null
       and exists (select from clerk_tombstones where clerk_id = $1)";

/// Ignored if the membership was removed, or its row has newer information. A person who joins again has a new
/// membership, which revives the removed row unless another removal is newer. The deleted join nothing.
const PUT_MEMBERSHIP: &str = "
    insert into memberships as m (dealership_id, user_id, clerk_membership_id, clerk_version, removed_at,
                                  role, role_is_presumed, role_at)
    select d.id, u.id, $3, $5, u.deleted_at, coalesce($4, 'sales_rep'), $4 is null, to_timestamp($5::bigint / 1000.0)
      from dealerships d, users u
     where d.clerk_org_id = $1 and u.clerk_user_id = $2
       and not exists (select from clerk_tombstones where clerk_id = $3)
    on conflict on constraint memberships_pkey do update
       set clerk_membership_id = excluded.clerk_membership_id, clerk_version = excluded.clerk_version,
           removed_at = excluded.removed_at,
           role = case when m.role_at > excluded.role_at then m.role else excluded.role end,
           role_is_presumed = case when m.role_at > excluded.role_at then m.role_is_presumed
                                   else excluded.role_is_presumed end,
           role_at = greatest(m.role_at, excluded.role_at)
     where m.clerk_version < excluded.clerk_version
       and (m.removed_at is null or m.left_version < excluded.clerk_version)";

/// Makes an ended row if there is none, so that no token from before the removal makes a living one.
const LEAVE_BEFORE_JOINING: &str = "
    insert into memberships (dealership_id, user_id, clerk_membership_id, clerk_version, removed_at,
                             role, role_is_presumed, role_at)
    select d.id, u.id, $3, $5, to_timestamp($5::bigint / 1000.0), coalesce($4, 'sales_rep'), $4 is null,
           to_timestamp($5::bigint / 1000.0)
      from dealerships d, users u where d.clerk_org_id = $1 and u.clerk_user_id = $2
    on conflict do nothing";

/// Ends the membership of this id, or one without an id that no later token has confirmed.
const LEAVE: &str = "
    update memberships m
       set removed_at = to_timestamp(greatest($5, m.left_version) / 1000.0), clerk_membership_id = $3,
           clerk_version = case when m.clerk_membership_id is null then greatest($5, m.clerk_version)
                                else m.clerk_version end,
           role = case when m.role_at > to_timestamp($5::bigint / 1000.0) then m.role else coalesce($4, 'sales_rep') end,
           role_is_presumed = case when m.role_at > to_timestamp($5::bigint / 1000.0) then m.role_is_presumed
                                   else $4 is null end,
           role_at = greatest(m.role_at, to_timestamp($5::bigint / 1000.0))
      from dealerships d, users u
     where d.clerk_org_id = $1 and u.clerk_user_id = $2 and m.dealership_id = d.id and m.user_id = u.id
       and m.removed_at is null
       and (m.clerk_membership_id = $3
            or m.clerk_membership_id is null
               and coalesce(m.confirmed_at <= to_timestamp($5::bigint / 1000.0), true))";

/// When another membership than the row's has ended: a living row stays, and nothing older revives a removed one.
const LEFT_ANOTHER: &str = "
    update memberships m
       set left_version = greatest(m.left_version, $4),
           removed_at = case when m.removed_at is not null
                             then greatest(m.removed_at, to_timestamp($4::bigint / 1000.0)) end
      from dealerships d, users u
     where d.clerk_org_id = $1 and u.clerk_user_id = $2 and m.dealership_id = d.id and m.user_id = u.id
       and m.clerk_membership_id is distinct from $3";

const JOINED: &str = "
    update memberships m set joined_version = $3
      from dealerships d, users u
     where d.clerk_org_id = $1 and u.clerk_user_id = $2 and m.dealership_id = d.id and m.user_id = u.id
       and (m.joined_version is null or m.joined_version > $3)";

/// The first member is the one with the oldest membership, by Clerk's created_at. Every event of a membership has it,
/// so the order of events does not matter. (organization.created_by is not always there, and need not be a member.)
const PRESUME_ROLES: &str = "
    update memberships m set role = presumed.role
      from (select m.dealership_id, m.user_id,
                   case when row_number() over (order by m.joined_version, u.clerk_user_id) = 1
                        then 'admin' else 'sales_rep' end as role
              from memberships m join users u on u.id = m.user_id
             where m.dealership_id = (select id from dealerships where clerk_org_id = $1)
               and m.joined_version is not null) presumed
     where (m.dealership_id, m.user_id) = (presumed.dealership_id, presumed.user_id)
       and m.role_is_presumed and m.role <> presumed.role";

/// The statements of every [`Change`].
pub const STATEMENTS: &[NamedSql] = &[
    ("tombstone", TOMBSTONE),
    ("put_dealership", PUT_DEALERSHIP),
    ("delete_dealership", DELETE_DEALERSHIP),
    ("put_user", PUT_USER),
    ("delete_user", DELETE_USER),
    ("leave_everywhere", LEAVE_EVERYWHERE),
    ("forget", FORGET),
    ("put_membership", PUT_MEMBERSHIP),
    ("leave_before_joining", LEAVE_BEFORE_JOINING),
    ("leave", LEAVE),
    ("left_another", LEFT_ANOTHER),
    ("joined", JOINED),
    ("presume_roles", PRESUME_ROLES),
];

impl Change {
    /// The statements that apply the change.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement<'_>> {
        match self {
            Change::PutOrganization { organization, at } => vec![put_dealership(organization, at, &0)],
            Change::DeleteOrganization { id, at } => {
                vec![(DELETE_DEALERSHIP, vec![id]), (TOMBSTONE, vec![id, at])]
            }
            Change::PutUser { user, at } => vec![put_user(user, at, &0), (FORGET, vec![&user.id])],
            Change::DeleteUser { id, at } => vec![
                (DELETE_USER, vec![id, at]),
                (TOMBSTONE, vec![id, at]),
                (LEAVE_EVERYWHERE, vec![id, at]),
                (FORGET, vec![id]),
            ],
            Change::PutMembership { membership, at } => {
                in_dealership(membership, at, vec![(PUT_MEMBERSHIP, named(membership, at))])
            }
            Change::DeleteMembership { membership, at } => {
                let Membership { id, organization, user, .. } = membership;
                if id.is_none() {
                    return vec![(LEAVE, named(membership, at)), (PRESUME_ROLES, vec![&organization.id])];
                }
                let leave: Vec<Statement<'_>> = vec![
                    (TOMBSTONE, vec![id, at]),
                    (LEAVE_BEFORE_JOINING, named(membership, at)),
                    (LEAVE, named(membership, at)),
                    (LEFT_ANOTHER, vec![&organization.id, &user.id, id, at]),
                ];
                in_dealership(membership, at, leave)
            }
        }
    }
}

/// Also makes the dealership and the person: their own events may come later.
fn in_dealership<'a>(
    membership: &'a Membership,
    at: &'a i64,
    then: Vec<Statement<'a>>,
) -> Vec<Statement<'a>> {
    let Membership { organization, user, created_at, .. } = membership;
    let mut all = vec![put_dealership(organization, &0, at), put_user(user, &0, at)];
    all.extend(then);
    if let Some(created_at) = created_at {
        all.push((JOINED, vec![&organization.id, &user.id, created_at]));
    }
    all.push((PRESUME_ROLES, vec![&organization.id]));
    all.push((FORGET, vec![&user.id]));
    all
}

fn named<'a>(membership: &'a Membership, at: &'a i64) -> Vec<&'a dyn Param> {
    let Membership { id, organization, user, role, .. } = membership;
    vec![&organization.id, &user.id, id, role, at]
}

fn put_dealership<'a>(organization: &'a Organization, own: &'a i64, embedded: &'a i64) -> Statement<'a> {
    let Organization { id, name, slug } = organization;
    (PUT_DEALERSHIP, vec![id, name, slug, own, embedded])
}

fn put_user<'a>(user: &'a User, own: &'a i64, embedded: &'a i64) -> Statement<'a> {
    let User { id, email, first_name, last_name } = user;
    (PUT_USER, vec![id, email, first_name, last_name, own, embedded])
}
