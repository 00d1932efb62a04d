//! Random commands: every command that Redis has too, with right and wrong arguments.

use rand::RngExt;
use rand::rngs::StdRng;

/// A command with its name.
pub type Words = Vec<Vec<u8>>;

const KEYS: [&[u8]; 8] = [b"k0", b"k1", b"k2", b"k3", b"k4", b"", b"\0", b"a b"];
const VALUES: [&[u8]; 16] = [
    b"v",
    b"",
    b"0",
    b"10",
    b"-1",
    b" 1",
    b"00012",
    b"1.5",
    b"\r\n",
    b"\xff\x00",
    b"NX",
    b"hello world",
    b"9223372036854775807",
    b"-9223372036854775807",
    b"-9223372036854775808",
    b"a value of some length, so that it has parts",
];
const INTEGERS: [&[u8]; 24] = [
    b"0",
    b"1",
    b"-1",
    b"2",
    b"7",
    b"100",
    b"-100",
    b"9223372036854775807",
    b"9223372036854775806",
    b"9223372036854775808",
    b"-9223372036854775807",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"99999999999999999999",
    b"4294967296",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"+1",
    b" 1",
    b"01",
    b"-0",
    b"1.0",
    b"x",
];
/// Long times, times long past, and what is none: whatever expires while the test runs could differ.
const TIMES: [&[u8]; 16] = [
    b"50000000",
    b"60000000",
    b"33177117420",
    b"33177117420123",
    b"0",
    b"-1",
    b"9223372036854775",
    b"9223372036854776",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"99999999999999999999",
    b"",
    b"+1",
    b"1.0",
    b"x",
];
/// Near a value's ends; and past the longest value of Redis, which both refuse.
const OFFSETS: [&[u8]; 10] = [
    b"0",
    b"1",
    b"3",
    b"20",
    b"-1",
    b"-9223372036854775808",
    b"x",
    b"536870912",
    b"2147483648",
    b"9223372036854775807",
];

/// Commands and what each takes: a letter for each argument, as in [`argument`].
const COMMANDS: &[(&str, &str)] = &[
    ("get", "k"),
    ("set", "kvS"),
    ("set", "kv"),
    ("setnx", "kv"),
    ("setex", "ktv"),
    ("psetex", "ktv"),
    ("getset", "kv"),
    ("getdel", "k"),
    ("getex", "kG"),
    ("mget", "kK"),
    ("mset", "kvP"),
    ("msetnx", "kvP"),
    ("incr", "k"),
    ("decr", "k"),
    ("incrby", "ki"),
    ("decrby", "ki"),
    ("append", "kv"),
    ("strlen", "k"),
    ("getrange", "kii"),
    ("substr", "kii"),
    ("setrange", "kov"),
    ("del", "kK"),
    ("unlink", "kK"),
    ("exists", "kK"),
    ("touch", "kK"),
    ("type", "k"),
    ("scan", "cC"),
    ("keys", "p"),
    ("dbsize", ""),
    ("flushall", "F"),
    ("flushdb", "F"),
    ("expire", "ktE"),
    ("pexpire", "ktE"),
    ("expireat", "ktE"),
    ("pexpireat", "ktE"),
    ("persist", "k"),
    ("ttl", "k"),
    ("pttl", "k"),
    ("expiretime", "k"),
    ("pexpiretime", "k"),
    ("multi", ""),
    ("multi", ""),
    ("exec", ""),
    ("exec", ""),
    ("exec", ""),
    ("discard", ""),
    ("watch", "kK"),
    ("unwatch", ""),
    ("ping", "V"),
    ("echo", "v"),
    ("hello", "hH"),
    ("auth", "vV"),
    ("select", "i"),
    ("reset", ""),
    ("client", "nV"),
    ("config", "gV"),
    ("command", "w"),
    ("save", ""),
    ("bgsave", "wv"),
    ("wait", "di"),
    ("slowlog", "lI"),
    ("latency", "aV"),
    ("nonsense", "U"),
];

/// What one of the arguments stands for; several, or none, for a capital letter.
fn argument(random: &mut StdRng, letter: char) -> Words {
    let one = |random: &mut StdRng, words: &[&[u8]]| vec![pick(random, words).to_vec()];
    let words: &[&[&[u8]]] = match letter {
        'k' => return one(random, &KEYS),
        'v' => return one(random, &VALUES),
        'i' => return one(random, &INTEGERS),
        't' => return one(random, &TIMES),
        'o' => return one(random, &OFFSETS),
        'c' => return one(random, &[b"0", b"0", b"0", b"x", b"1.0", b"99999999999999999999"]),
        'd' => return one(random, &[b"0", b"-1", b"x", b"1.5", b"9223372036854775808"]),
        'n' => return one(random, &[b"GETNAME", b"getname", b"SETNAME", b"NO-EVICT", b"x", b""]),
        'g' => return one(random, &[b"GET", b"x"]),
        'w' => return one(random, &[b"x", b""]),
        'l' => return one(random, &[b"GET", b"LEN", b"RESET", b"x"]),
        'a' => return one(random, &[b"LATEST", b"RESET", b"x"]),
        'h' => return one(random, &[b"2", b"3", b"1", b"4", b"x", b"", b"9223372036854775808"]),
        'p' => {
            let patterns: [&[u8]; 9] = [b"*", b"k*", b"k[0-2]", b"k[^0-2]", b"k?", b"\\k\\1", b"[", b"", b"k[1"];
            return one(random, &patterns);
        }
        'K' => return some(random, 3, |random| one(random, &KEYS)),
        'V' => return some(random, 3, |random| one(random, &VALUES)),
        'I' => return some(random, 3, |random| one(random, &INTEGERS)),
        'P' => return some(random, 3, |random| [one(random, &KEYS), one(random, &VALUES)].concat()),
        // What is no text is repeated with signs in its place.
        'U' => return some(random, 3, |random| one(random, &[b"", b"word", b"two words", b"\r\n", &[b'x'; 100]])),
        'S' => return some(random, 4, set_option),
        'G' => return some(random, 3, getex_option),
        'E' => {
            // XX with LT is refused.
            let first: &[u8] = if random.random() { b"XX" } else { b"lt" };
            return some(random, 4, |random| one(random, &[b"NX", first, b"GT", b"gt", b"x", b""]));
        }
        'C' => &[
            &[b"COUNT", b"1000"],
            &[b"count", b"1000", b"MATCH", b"k*"],
            &[b"COUNT", b"1000", b"TYPE", b"string"],
            &[b"COUNT", b"1000", b"TYPE", b"list"],
            &[b"COUNT", b"0"],
            &[b"COUNT", b"x"],
            &[b"COUNT"],
            &[b"MATCH"],
            &[b"x", b"y"],
        ],
        'F' => &[&[], &[b"ASYNC"], &[b"sync"], &[b"x"], &[b"SYNC", b"ASYNC"], &[b"x"], &[b"x"], &[b"x"]],
        'H' => &[
            &[],
            &[b"AUTH"],
            &[b"AUTH", b"default", b"any"],
            &[b"AUTH", b"ann", b"any"],
            &[b"SETNAME"],
            &[b"SETNAME", b"ann"],
            &[b"SETNAME", b"an n"],
            &[b"SETNAME", b"an n", b"AUTH", b"ann", b"any"],
            &[b"x"],
        ],
        other => panic!("{other:?} stands for nothing"),
    };
    pick(random, words).iter().map(|word| word.to_vec()).collect()
}

fn set_option(random: &mut StdRng) -> Words {
    let time = pick(random, &TIMES);
    let options: [&[&[u8]]; 14] = [
        &[b"NX"],
        &[b"XX"],
        &[b"GET"],
        &[b"get"],
        &[b"KEEPTTL"],
        &[b"EX", time],
        &[b"px", time],
        &[b"EXAT", time],
        &[b"PXAT", time],
        &[b"EX", b"50000000"],
        &[b"EX"],
        &[b"PERSIST"],
        &[b""],
        &[b"x"],
    ];
    pick(random, &options).iter().map(|word| word.to_vec()).collect()
}

fn getex_option(random: &mut StdRng) -> Words {
    let time = pick(random, &TIMES);
    let options: [&[&[u8]]; 9] = [
        &[b"EX", time],
        &[b"PX", time],
        &[b"exat", time],
        &[b"PXAT", time],
        &[b"PERSIST"],
        &[b"EX"],
        &[b"KEEPTTL"],
        &[b"GET"],
        &[b""],
    ];
    pick(random, &options).iter().map(|word| word.to_vec()).collect()
}

fn pick<T: Copy>(random: &mut StdRng, from: &[T]) -> T {
    from[random.random_range(0..from.len())]
}

/// Fewer than `end` of these, often none.
fn some(random: &mut StdRng, end: usize, mut one: impl FnMut(&mut StdRng) -> Words) -> Words {
    let count = random.random_range(0..end) * usize::from(random.random_bool(0.7));
    (0..count).flat_map(|_| one(random)).collect()
}

/// Names of all commands that are made.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name)
}

/// A command; now and then with an argument too many or too few.
pub fn command(random: &mut StdRng) -> Words {
    let (name, arguments) = pick(random, COMMANDS);
    let name = if random.random_bool(0.1) { name.to_uppercase() } else { name.to_string() };
    let mut words = vec![name.into_bytes()];
    for letter in arguments.chars() {
        words.extend(argument(random, letter));
    }
    match random.random_range(0..30) {
        // COMMAND alone tells of the server.
        0 if words.len() > 1 && !words[0].eq_ignore_ascii_case(b"command") => drop(words.pop()),
        // Text, as errors repeat it. HELLO does what stands before its mistake.
        1 if !words[0].eq_ignore_ascii_case(b"hello") => {
            words.push(pick(random, &[b"v".as_slice(), b"", b"0", b"-1", b"NX", b"two words"]).to_vec())
        }
        _ => {}
    }
    words
}

/// The keys that commands are about.
pub fn keys() -> &'static [&'static [u8]] {
    &KEYS
}
