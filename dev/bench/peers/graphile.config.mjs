// The list of leads with PostGraphile. It calls the gate once per caller and keeps the answer, because it has no place for
// the call in a transaction; its own transactions set what the gate would set.
import pg from 'pg'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { makePgService } from 'postgraphile/adaptors/pg'

const { DATABASE_URL, JWKS_URL, ISSUER, AUTHORIZED_PARTY, PORT } = process.env
const keys = createRemoteJWKSet(new URL(JWKS_URL))
const gate = new pg.Pool({ connectionString: DATABASE_URL, max: 1 })
const entered = new Map()

async function enter({ sub, iat, o }) {
  const client = await gate.connect()
  try {
    await client.query('begin')
    await client.query('select scope.enter_member($1, $2, $3, $4)', [o.id, sub, o.rol, iat])
    const { rows } = await client.query(`select current_setting('norvalt.dealership_id') as "norvalt.dealership_id",
      current_setting('norvalt.user_id') as "norvalt.user_id", current_setting('norvalt.role') as "norvalt.role"`)
    return rows[0]
  } finally {
    await client.query('rollback')
    client.release()
  }
}

export default {
  extends: [PostGraphileAmberPreset],
  // It would order and filter by an index's first column only; the policies supply that one here.
  disablePlugins: ['PgIndexBehaviorsPlugin'],
  pgServices: [makePgService({ connectionString: DATABASE_URL, schemas: ['public'], pubsub: false, poolConfig: { max: 20 } })],
  grafserv: { host: '127.0.0.1', port: Number(PORT), graphiql: false, watch: false },
  grafast: {
    explain: false,
    async context({ node }) {
      const token = (node?.req.headers.authorization ?? '').slice('Bearer '.length)
      if (!token) return {}
      const { payload } = await jwtVerify(token, keys, { issuer: ISSUER, algorithms: ['RS256'], requiredClaims: ['exp', 'iat', 'azp', 'o'] })
      if (payload.azp !== AUTHORIZED_PARTY) throw new Error('made for another')
      const who = `${payload.o.id} ${payload.sub} ${payload.o.rol}`
      if (!entered.has(who)) entered.set(who, enter(payload))
      return { pgSettings: await entered.get(who) }
    },
  },
}
