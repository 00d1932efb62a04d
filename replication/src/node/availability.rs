//! Whether requests are taken: a majority that can't be reached, a state that isn't here, a replica that was removed.

use super::reads::Passing;
use super::{Node, Output, Passes};
use crate::batch::Refusal;
use crate::paxos::Event;
use skink_engine::position::Instance;

impl Node {
    /// Why requests are not taken, where they are not.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.is_removed() {
            return Some(Refusal::NoMajority(self.removed_text()));
        }
        if self.down.is_some() {
            return Some(Refusal::NoMajority(
                "no majority of the replicas can be reached; nothing of this request has happened, try again later"
                    .into(),
            ));
        }
        if self.batches.incarnation().is_none() {
            return Some(Refusal::NoMajority(
                "this replica is new or lost its disk, and has not got the state yet; use another one, or try again later"
                    .into(),
            ));
        }
        None
    }

    fn removed_text(&self) -> String {
        format!("replica {} was removed from the cluster: use another one", self.own)
    }

    /// Tells those who have waited too long.
    pub(super) fn expire(&mut self) {
        let ticks = self.options.ticks(self.options.request_timeout);
        let (batches, reads) = (self.batches.expired(self.now, ticks), self.reads.expired(self.now, ticks));
        let ms = self.options.request_timeout.as_millis();
        let parked = self.reads.expired_parked(self.now, ticks);
        let is_full = self.is_full() || self.log.has_refused_payload();
        let is_why = if is_full { "'s disk is full: it" } else { " is catching up: it" };
        for Passing { tell, passes, .. } in parked {
            let why = format!(
                "this replica{is_why} has not executed within {ms} ms what the read must see; use another one, or try \
                 again later"
            );
            self.outputs.push(Output::Pass(tell, passes, Err(Refusal::CatchingUp(why))));
        }
        for reply in batches.decided {
            let why = format!(
                "this replica{is_why} has not executed the command within {ms} ms; it will be executed, and its reply is lost"
            );
            self.outputs.push(Output::Answer(reply, Err(Refusal::Late(why))));
        }
        // Somebody leads, and has said so.
        for tell in reads.without_headers {
            let why = format!(
                "this replica{is_why} has not heard within {ms} ms of all that the read must see; use another one, or try \
                 again later"
            );
            self.outputs.push(Output::Pass(tell, Passes::Rest, Err(Refusal::CatchingUp(why))));
        }
        let (batches, reads) = (batches.unknown, reads.without_index);
        if batches.is_empty() && reads.is_empty() {
            return;
        }
        let why = format!("no majority of the replicas answered within {ms} ms");
        let unknown = format!("{why}; the command may still be executed, now or later");
        for reply in batches {
            self.outputs.push(Output::Answer(reply, Err(Refusal::NoMajority(unknown.clone()))));
        }
        for tell in reads {
            self.outputs.push(Output::Pass(tell, Passes::Rest, Err(Refusal::NoMajority(why.clone()))));
        }
        if self.down.is_none() {
            tracing::error!("{why}: requests are refused until one does");
            let read = self.reads.new_id();
            self.down = Some(read);
            self.protocol.handle(Event::ReadArrived { read });
            for tell in self.reads.drain() {
                self.outputs.push(Output::Pass(tell, Passes::Rest, Err(Refusal::NoMajority(why.clone()))));
            }
        }
    }

    /// This replica takes part no more: nobody who waits gets an answer from it. What it had proposed and was not executed
    /// by now never will be, as nobody listens to it any more; who was not told so before need not rely on it.
    pub(super) fn refuse_all(&mut self) {
        let text = self.removed_text();
        let unknown = format!("{text}; the command may not have been executed");
        for reply in self.batches.give_up() {
            self.outputs.push(Output::Answer(reply, Err(Refusal::NoMajority(unknown.clone()))));
        }
        for tell in self.reads.drain() {
            self.outputs.push(Output::Pass(tell, Passes::Rest, Err(Refusal::NoMajority(text.clone()))));
        }
        for Passing { tell, passes, .. } in self.reads.drain_parked() {
            self.outputs.push(Output::Pass(tell, passes, Err(Refusal::NoMajority(text.clone()))));
        }
        self.checkpoints.refuse(&text);
        self.down = None;
    }

    pub(super) fn is_up_again(&mut self, _: Instance) {
        self.down = None;
        tracing::info!("a majority of the replicas answers again");
        self.propose_all();
    }

    /// Whether requests are refused as no majority answers.
    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }
}
