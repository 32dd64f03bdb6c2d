// The list of leads with Fastify and node-postgres.
import Fastify from 'fastify'
import pg from 'pg'
import { createRemoteJWKSet, jwtVerify } from 'jose'

// The largest int8 here is the token's time, which fits a number.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 })
const keys = createRemoteJWKSet(new URL(process.env.JWKS_URL))

const page = `
  select l.id, l.source, l.status, l.lost_reason, l.first_name, l.last_name, l.email, l.phone, l.phone_e164, l.company,
         l.message, l.vehicle_id, l.vehicle_of_interest, l.assigned_to, l.attribution, l.consent, l.first_human_response_at,
         l.first_ai_response_at, l.conversation_count, l.created_at, l.updated_at,
         m.id as last_id, m.direction, m.channel, m.author_kind, m.body, m.created_at as last_created_at
    from leads l
    left join lateral (
      select * from conversations c where c.dealership_id = l.dealership_id and c.lead_id = l.id
       order by c.created_at desc, c.id desc limit 1) m on true
   where l.deleted_at is null
   order by l.created_at desc, l.id desc limit 50`

async function caller(request) {
  const { payload } = await jwtVerify((request.headers.authorization ?? '').slice('Bearer '.length), keys, {
    issuer: process.env.ISSUER,
    algorithms: ['RS256'],
    requiredClaims: ['exp', 'iat', 'azp', 'o'],
  })
  if (payload.azp !== process.env.AUTHORIZED_PARTY) throw new Error('made for another')
  return payload
}

function lead({ last_id, direction, channel, author_kind, body, last_created_at, ...lead }) {
  lead.last_message = last_id && { id: last_id, direction, channel, author_kind, body, created_at: last_created_at }
  return lead
}

const app = Fastify()
app.get('/api/v1/leads', async (request, reply) => {
  let claims
  try {
    claims = await caller(request)
  } catch {
    return reply.code(401).send({ code: 'unauthorized' })
  }
  const client = await pool.connect()
  try {
    await client.query('begin read only')
    await client.query({
      name: 'enter',
      text: 'select scope.enter_member($1, $2, $3, $4)',
      values: [claims.o.id, claims.sub, claims.o.rol, claims.iat],
    })
    const { rows } = await client.query({ name: 'page', text: page })
    await client.query('commit')
    return { items: rows.map(lead) }
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
