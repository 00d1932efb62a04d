//! The table of commands: what is known of each, and how it is found by its name.
//!
//! Names are found without allocating and in the same time whatever their number: up to 16 bytes of
//! the name, in upper case, make one number, whose hash is a slot of a table that the compiler fills.

use super::arguments::ArgumentReader;
use super::{
    Request, RequestError, administration, connection, error, expiry, keys, membership, parts, records, transactions,
    values,
};
use crate::resp::Arguments;

/// What is known of a command.
pub struct CommandSpec {
    /// Its name in lower case; a subcommand's with its command's (`client|setname`).
    pub name: &'static str,
    /// How many arguments it takes, names included; `-n` for at least `n`.
    pub arity: i32,
    /// Its traits.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: KeyPositions,
    /// Redis' name for the group of commands that it is in.
    pub group: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its subcommands.
    pub subcommands: &'static [CommandSpec],
    pub(super) parser: Parser,
}

/// Makes a request of the arguments behind the names.
pub(super) type Parser = fn(ArgumentReader) -> Result<Request, RequestError>;

/// Which of a command's arguments are keys, counted from its name, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPositions {
    /// The first one; 0 if there is none.
    pub first: i64,
    /// The last one; -1 is the last argument, -2 the one before it.
    pub last: i64,
    /// From one to the next.
    pub step: i64,
}

impl KeyPositions {
    /// No argument is a key.
    pub const NONE: KeyPositions = KeyPositions { first: 0, last: 0, step: 0 };
    /// The first argument.
    pub const FIRST: KeyPositions = KeyPositions { first: 1, last: 1, step: 1 };
    /// All arguments.
    pub const ALL: KeyPositions = KeyPositions { first: 1, last: -1, step: 1 };
    /// Every other argument.
    pub const PAIRS: KeyPositions = KeyPositions { first: 1, last: -1, step: 2 };
}

/// Traits of a command; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// It may change the state.
    pub const WRITE: Flags = Flags(1);
    /// It reads the state and does not change it.
    pub const READ_ONLY: Flags = Flags(1 << 1);
    /// It may make the state larger: refused when the disk is nearly full.
    pub const DENY_OOM: Flags = Flags(1 << 2);
    /// Its time does not depend on the size of the state.
    pub const FAST: Flags = Flags(1 << 3);
    /// It is for administrators.
    pub const ADMIN: Flags = Flags(1 << 4);
    /// It is allowed before authentication.
    pub const NO_AUTH: Flags = Flags(1 << 5);
    /// It takes effect at once inside `MULTI` too, or is refused there; it is not queued.
    pub const NOT_QUEUED: Flags = Flags(1 << 6);
    /// It is answered while the server recovers, whatever the recovery's state.
    pub const LOADING: Flags = Flags(1 << 7);

    /// All of both.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether it has all of `other`.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Redis' names of those that Redis has.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Flags, &str); 7] = [
            (Flags::WRITE, "write"),
            (Flags::READ_ONLY, "readonly"),
            (Flags::DENY_OOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::LOADING, "loading"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::FAST, "fast"),
        ];
        NAMES.into_iter().filter_map(move |(flag, name)| self.has(flag).then_some(name))
    }
}

impl CommandSpec {
    /// A command without subcommands.
    pub(super) const fn new(
        name: &'static str,
        arity: i32,
        flags: Flags,
        keys: KeyPositions,
        group: &'static str,
        summary: &'static str,
        parser: Parser,
    ) -> CommandSpec {
        CommandSpec { name, arity, flags, keys, group, summary, subcommands: &[], parser }
    }

    /// The command with these subcommands.
    pub(super) const fn with_subcommands(self, subcommands: &'static [CommandSpec]) -> CommandSpec {
        CommandSpec { subcommands, ..self }
    }

    /// Makes a request of all of a request's arguments, for which [`find`] gave this command.
    ///
    /// # Errors
    /// The command does not take these arguments.
    pub fn parse(&'static self, arguments: Arguments) -> Result<Request, RequestError> {
        (self.parser)(ArgumentReader::new(self, arguments))
    }

    fn check_arity(&self, arguments: usize) -> Result<(), RequestError> {
        let arity = self.arity.unsigned_abs() as usize;
        if arguments == arity || (self.arity < 0 && arguments > arity) {
            Ok(())
        } else {
            Err(RequestError::WrongArity(self.name))
        }
    }

    fn subcommand(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        self.subcommands.iter().find(|subcommand| {
            subcommand.name.split_once('|').is_some_and(|(_, own)| name.eq_ignore_ascii_case(own.as_bytes()))
        })
    }
}

impl std::fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CommandSpec").field(&self.name).finish()
    }
}

impl PartialEq for CommandSpec {
    fn eq(&self, other: &CommandSpec) -> bool {
        self.name == other.name
    }
}

/// The command or subcommand that these arguments name, which takes as many as there are.
///
/// # Errors
/// There is no such command or subcommand, or the number of arguments is wrong.
pub fn find(arguments: &Arguments) -> Result<&'static CommandSpec, RequestError> {
    let spec =
        arguments.first().and_then(|name| lookup(name)).ok_or_else(|| RequestError::unknown_command(arguments))?;
    spec.check_arity(arguments.len())?;
    match arguments.get(1) {
        Some(name) if !spec.subcommands.is_empty() => {
            let subcommand = spec.subcommand(name).ok_or_else(|| RequestError::UnknownSubcommand {
                subcommand: error::quote(name),
                command: spec.name.to_ascii_uppercase(),
            })?;
            subcommand.check_arity(arguments.len())?;
            Ok(subcommand)
        }
        _ => Ok(spec),
    }
}

/// The command with this name, in whatever case.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    let packed = pack(name)?;
    let mut slot = slot_of(packed);
    loop {
        match SLOTS[slot] {
            // A NUL at the end packs as nothing does, so that the lengths must agree too.
            Some((own, spec)) if own == packed => return (spec.name.len() == name.len()).then_some(spec),
            Some(_) => slot = (slot + 1) % SLOT_COUNT,
            None => return None,
        }
    }
}

/// All commands, family by family.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

static FAMILIES: [&[CommandSpec]; 9] = [
    values::COMMANDS,
    parts::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    records::COMMANDS,
    transactions::COMMANDS,
    connection::COMMANDS,
    administration::COMMANDS,
    membership::COMMANDS,
];

const MAX_NAME_LEN: usize = 16;
/// More than twice the number of commands, so that most are found at once and a search for what is not there ends soon.
const SLOT_COUNT: usize = 256;

type Slot = Option<(u128, &'static CommandSpec)>;

static SLOTS: [Slot; SLOT_COUNT] = {
    let mut slots: [Slot; SLOT_COUNT] = [None; SLOT_COUNT];
    let (mut family, mut used) = (0, 0);
    while family < FAMILIES.len() {
        let commands = FAMILIES[family];
        let mut index = 0;
        while index < commands.len() {
            let Some(packed) = pack(commands[index].name.as_bytes()) else { panic!("a command's name is too long") };
            let mut slot = slot_of(packed);
            while let Some((other, _)) = slots[slot] {
                assert!(other != packed, "two commands have one name");
                slot = (slot + 1) % SLOT_COUNT;
            }
            slots[slot] = Some((packed, &commands[index]));
            used += 1;
            index += 1;
        }
        family += 1;
    }
    assert!(used <= SLOT_COUNT / 2, "the table of commands is too full");
    slots
};

/// A name as a number, in upper case; `None` for the empty name and ones longer than any command's.
const fn pack(name: &[u8]) -> Option<u128> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return None;
    }
    let mut bytes = [0; MAX_NAME_LEN];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at].to_ascii_uppercase();
        at += 1;
    }
    Some(u128::from_le_bytes(bytes))
}

/// Fibonacci hashing: the top eight bits of a product with 2^64 over the golden ratio.
const fn slot_of(packed: u128) -> usize {
    let folded = packed as u64 ^ ((packed >> 64) as u64).rotate_left(23);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}
