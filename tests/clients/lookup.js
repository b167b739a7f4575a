// A Node program: `lookup` asks libc through dns.lookup, `resolve` asks c-ares through dns.resolve.
const dns = require('node:dns').promises;
const net = require('node:net');

const ways = {
  lookup: {
    forward: async (name) => (await dns.lookup(name, { all: true })).map(({ address }) => address),
    reverse: async (address) => [(await dns.lookupService(address, 0)).hostname],
    // It has one error for a name and for a type that does not exist.
    errors: { ENOTFOUND: 'NOTHING' },
  },
  resolve: {
    forward: async (name) => {
      const asked = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
      const found = asked.flatMap(({ value }) => value ?? []);
      if (found.length === 0) throw asked[0].reason;
      return found;
    },
    reverse: (address) => dns.reverse(address),
    errors: { ENOTFOUND: 'NXDOMAIN', ENODATA: 'NODATA' },
  },
};

async function main([way, ...words]) {
  const { forward, reverse, errors } = ways[way];
  console.log(`Node ${process.versions.node}, c-ares ${process.versions.ares}`);
  for (const word of words) {
    try {
      console.log((await (net.isIP(word) ? reverse : forward)(word)).join(' '));
    } catch (error) {
      console.log(errors[error.code] ?? error.message);
    }
  }
}

main(process.argv.slice(2));
