-- The reader tells a member who they are and where: these columns and no more. The policies show the member's own
-- dealership and the people of it, whom the policy of users finds through their memberships.
grant select (id, clerk_org_id, name, slug, subscription_tier, subscription_status) on dealerships to norvalt_reader;
grant select (id, clerk_user_id, first_name, last_name, email) on users to norvalt_reader;
grant select (dealership_id, user_id) on memberships to norvalt_reader;
