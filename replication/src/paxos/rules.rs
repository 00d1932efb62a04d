//! The rules of `docs/ordering.md` as switches: tests turn one off to see that it is missed.
//!
//! A build without the feature `testing` has no switches; every rule is on there.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule that can be switched off.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];
        }
    };
}

rules! {
    /// 2: entries, promise, accepted round and decided index of a cycle are one frame.
    OneFrame,
    /// 3: an installed checkpoint raises the promise to the one in its manifest.
    RaisePromise,
    /// 3: an installed checkpoint keeps the accepted round.
    KeepRound,
    /// 3: an installed checkpoint keeps the accepted entries above it.
    KeepTail,
    /// 3: after an installed checkpoint all sessions start anew.
    NewSessions,
    /// 3: who led when it had to install a checkpoint takes a new ballot.
    TakeBallotAfterInstall,
    /// 4: an AcceptSync with a gap waits for a checkpoint.
    GapInSync,
    /// 4: a Promise with a gap waits for a checkpoint.
    GapInPromise,
    /// 4: a Promise with a gap is handed over when the majority came without it.
    ReleaseGap,
    /// 5: an AcceptSync that starts below the decided index is cut.
    CutOverlap,
    /// 6: an AcceptDecide waits for its payloads.
    PayloadsBeforeAccept,
    /// 6: an AcceptSync waits for its payloads.
    PayloadsBeforeSync,
    /// 6: a Promise waits for its payloads at a preparing leader.
    PayloadsBeforePromise,
    /// 6: what the object would ignore doesn't wait.
    PassStale,
    /// 6: a Prepare overtakes what waits.
    PrepareOvertakes,
    /// 6: what the same sender sent later waits behind.
    WaitInOrder,
    /// 6: who asks for a payload that is gone gets a checkpoint.
    CheckpointForGone,
    /// 6: payloads that the log names above the checkpoint are kept.
    KeepPayloads,
    /// 6: while preparing, no payload is dropped.
    PinWhilePreparing,
    /// 7: a message leaves when the log is durable up to its cycle.
    DurableBeforeSend,
    /// 7: an AcceptDecide leaves early only with a durable decided index.
    EagerBound,
    /// 7: what is delivered is durable.
    DeliverDurable,
    /// 7: the durable length falls when a suffix is overwritten.
    DurableFalls,
    /// 8: one Promise per session and ballot.
    OnePromise,
    /// 9: the leader proposes only headers whose payload it has.
    ProposeOwn,
    /// 10: what the object says is taken before more is proposed, where it began anew with a follower.
    TakeBetween,
    /// 11: a leader answers a PrepareReq above its ballot with a higher ballot.
    OutbidRequest,
    /// 11: a leader answers a NotAccepted above its ballot with a higher ballot.
    OutbidRefusal,
    /// 11: a leader that stays unable to accept asks its peers again.
    AskAgain,
    /// 12: messages of old sessions are dropped.
    DropStale,
    /// 12: a new session is made known to both ends' objects.
    Reconnected,
    /// 12: an idle leader says how far it is.
    Probe,
    /// 13: a replica whose log writes stall sends no heartbeats.
    SilentWhenStalled,
    /// 14: a replica that lost its disk waits for a barrier.
    Barrier,
    /// Reads: leadership is confirmed after the read arrived.
    ConfirmLeadership,
    /// Reads: the index isn't below what the leader had accepted when it became leader.
    IndexFromStart,
}

/// Which rules hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    #[cfg(any(test, feature = "testing"))]
    off: u64,
}

impl Rules {
    /// All but these.
    #[cfg(any(test, feature = "testing"))]
    pub fn without(rules: &[Rule]) -> Rules {
        Rules { off: rules.iter().fold(0, |off, rule| off | 1 << *rule as u64) }
    }

    /// Whether a rule holds.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn hold(self, rule: Rule) -> bool {
        self.off & 1 << rule as u64 == 0
    }

    /// Whether a rule holds.
    #[cfg(not(any(test, feature = "testing")))]
    pub(super) fn hold(self, _: Rule) -> bool {
        true
    }
}
