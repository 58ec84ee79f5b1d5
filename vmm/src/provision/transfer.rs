//! The receiver: what it has, and what it answers.

use super::wire::{BLOCK_SIZE, Identity, Reply, Request, checksum};
use alloc::string::String;

/// Memory for a bundle.
pub trait Store {
    /// At least as many bytes as were asked for.
    fn bytes(&mut self) -> &mut [u8];
}

/// Where bundles go.
pub trait Site {
    /// What holds one.
    type Store: Store;

    /// Memory for a bundle of this length.
    ///
    /// # Errors
    /// Why there is none.
    fn reserve(&mut self, length: usize) -> Result<Self::Store, String>;

    /// Runs a bundle of this length, which has come whole; or leaves everything as it is.
    ///
    /// # Errors
    /// Why it cannot be run.
    fn deploy(&mut self, bundle: Self::Store, length: usize) -> Result<(), String>;
}

/// A bundle on its way.
#[derive(Debug)]
pub struct Transfer<S> {
    incoming: Option<Incoming<S>>,
    /// The latest bundle was deployed, and nothing else has begun.
    done: bool,
}

#[derive(Debug)]
struct Incoming<S> {
    identity: Identity,
    store: S,
    /// Blocks that have come, from the first on.
    blocks: u32,
}

impl<S: Store> Transfer<S> {
    /// Nothing is on its way.
    #[must_use]
    pub const fn new() -> Self {
        Self { incoming: None, done: false }
    }

    /// Does what the sender wants, and says what comes next; nothing if that is all the sender wants.
    pub fn handle(&mut self, request: Request<'_>, site: &mut impl Site<Store = S>) -> Option<Reply> {
        match request {
            Request::Begin(identity) => Some(self.begin(identity, site)),
            Request::Block(number, data) => Some(self.block(number, data)),
            Request::End => Some(self.end(site)),
            Request::Abort => {
                *self = Self::new();
                Some(Reply::Aborted)
            }
            Request::Close => None,
        }
    }

    fn begin(&mut self, identity: Identity, site: &mut impl Site<Store = S>) -> Reply {
        if let Some(incoming) = self.incoming.as_ref().filter(|incoming| incoming.identity == identity) {
            return Reply::Want(incoming.blocks);
        }
        // What it had makes room first.
        *self = Self::new();
        let Ok(length @ 1..) = usize::try_from(identity.length) else { return refused("an empty bundle") };
        match site.reserve(length) {
            Ok(store) => {
                self.incoming = Some(Incoming { identity, store, blocks: 0 });
                Reply::Want(0)
            }
            Err(reason) => Reply::Refused(reason),
        }
    }

    fn block(&mut self, number: u32, data: &[u8]) -> Reply {
        let Some(incoming) = &mut self.incoming else { return refused("no transfer has begun") };
        match incoming.take(number, data) {
            Some(()) => Reply::Want(incoming.blocks),
            None => {
                *self = Self::new();
                refused("a block of the wrong length")
            }
        }
    }

    fn end(&mut self, site: &mut impl Site<Store = S>) -> Reply {
        match self.incoming.take() {
            // The answer was lost.
            None if self.done => Reply::Done,
            None => refused("no transfer has begun"),
            Some(incoming) if !incoming.is_complete() => Reply::Want(self.incoming.insert(incoming).blocks),
            Some(incoming) => self.deploy(incoming, site),
        }
    }

    fn deploy(&mut self, mut incoming: Incoming<S>, site: &mut impl Site<Store = S>) -> Reply {
        let length = incoming.length();
        let sum = incoming.store.bytes().get(..length).map(checksum);
        if sum != Some(incoming.identity.checksum) {
            return refused("the checksum of the whole is wrong");
        }
        match site.deploy(incoming.store, length) {
            Ok(()) => {
                self.done = true;
                Reply::Done
            }
            Err(reason) => Reply::Refused(reason),
        }
    }
}

impl<S: Store> Default for Transfer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Store> Incoming<S> {
    fn length(&self) -> usize {
        usize::try_from(self.identity.length).unwrap_or(usize::MAX)
    }

    /// How many bytes have come.
    fn received(&self) -> usize {
        usize::try_from(self.blocks).unwrap_or(usize::MAX).saturating_mul(BLOCK_SIZE).min(self.length())
    }

    fn is_complete(&self) -> bool {
        self.received() == self.length()
    }

    /// Takes a block, if it is the next; one that was sent twice changes nothing. `None` if it has a wrong length.
    fn take(&mut self, number: u32, data: &[u8]) -> Option<()> {
        if number != self.blocks || self.is_complete() {
            return Some(());
        }
        let start = self.received();
        let end = start.saturating_add(BLOCK_SIZE).min(self.length());
        let room = self.store.bytes().get_mut(start..end).filter(|room| room.len() == data.len())?;
        room.copy_from_slice(data);
        self.blocks += 1;
        Some(())
    }
}

fn refused(reason: &str) -> Reply {
    Reply::Refused(reason.into())
}

#[cfg(test)]
mod tests {
    use super::super::{MESSAGE_SIZE, Message, slip};
    use super::*;
    use alloc::{rc::Rc, vec, vec::Vec};
    use proptest::prelude::*;

    /// Memory that is counted.
    struct Counted(Vec<u8>, #[expect(dead_code, reason = "it is there to be counted")] Rc<()>);

    impl Store for Counted {
        fn bytes(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    /// A place with little room that takes every bundle but those that begin with a 0.
    #[derive(Default)]
    struct Place {
        users: Rc<()>,
        deployed: Vec<Vec<u8>>,
    }

    const ROOM: usize = 8 * BLOCK_SIZE;

    impl Site for Place {
        type Store = Counted;

        fn reserve(&mut self, length: usize) -> Result<Counted, String> {
            if length > ROOM {
                Err("too large".into())
            } else {
                Ok(Counted(vec![0; ROOM], self.users.clone()))
            }
        }

        fn deploy(&mut self, bundle: Counted, length: usize) -> Result<(), String> {
            match bundle.0[0] {
                0 => Err("bad".into()),
                _ => {
                    self.deployed.push(bundle.0[..length].to_vec());
                    Ok(())
                }
            }
        }
    }

    /// A receiver at the end of a line.
    #[derive(Default)]
    struct Receiver {
        decoder: slip::Decoder<MESSAGE_SIZE>,
        transfer: Transfer<Counted>,
        place: Place,
    }

    impl Receiver {
        fn handle(&mut self, request: Request<'_>) -> Reply {
            self.transfer.handle(request, &mut self.place).unwrap()
        }

        /// What is answered to these bytes.
        fn hear(&mut self, bytes: &[u8]) -> Vec<(u32, Reply)> {
            let mut replies = Vec::new();
            for byte in bytes {
                if self.decoder.take(*byte) {
                    let content = self.decoder.content().unwrap_or_default().to_vec();
                    replies.push(match Message::parse(&content) {
                        Some(Message { sequence, request }) => (sequence, self.handle(request)),
                        None => (0, Reply::Again),
                    });
                }
            }
            replies
        }

        /// Stores that are alive.
        fn stores(&self) -> usize {
            Rc::strong_count(&self.place.users) - 1
        }
    }

    fn bundle(length: usize) -> Vec<u8> {
        (1..=255).cycle().take(length).collect()
    }

    fn frame(sequence: u32, request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        slip::encode(&Message { sequence, request }.to_bytes(), |byte| bytes.push(byte));
        bytes
    }

    fn block(bundle: &[u8], number: u32) -> Request<'_> {
        let data = bundle.chunks(BLOCK_SIZE).nth(usize::try_from(number).unwrap()).unwrap_or_default();
        Request::Block(number, data)
    }

    /// Sends a bundle over a line that `noise` changes, until it has come; returns how many frames that took.
    fn send(receiver: &mut Receiver, bundle: &[u8], mut noise: impl FnMut(Vec<u8>) -> Vec<u8>) -> usize {
        let blocks = u32::try_from(bundle.len().div_ceil(BLOCK_SIZE)).unwrap();
        let mut request = Request::Begin(Identity::of(bundle).unwrap());
        for sequence in 1..10_000 {
            let replies = receiver.hear(&noise(frame(sequence, request)));
            match replies.into_iter().find(|(number, _)| *number == sequence) {
                Some((_, Reply::Want(number))) if number < blocks => request = block(bundle, number),
                Some((_, Reply::Want(_))) => request = Request::End,
                Some((_, Reply::Done)) => return usize::try_from(sequence).unwrap(),
                Some((_, reply)) => panic!("{reply}"),
                None => {}
            }
        }
        panic!("it never came")
    }

    #[test]
    fn a_bundle_comes_whole() {
        for length in [1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, ROOM] {
            let mut receiver = Receiver::default();
            let frames = send(&mut receiver, &bundle(length), |frame| frame);
            assert_eq!(frames, 2 + length.div_ceil(BLOCK_SIZE));
            assert_eq!(
                (receiver.place.deployed.as_slice(), receiver.stores()),
                ([bundle(length)].as_slice(), 0)
            );
        }
    }

    #[test]
    fn a_transfer_that_broke_off_goes_on_where_it_was() {
        let bundle = bundle(ROOM);
        let identity = Identity::of(&bundle).unwrap();
        for cut in 0..=8 {
            let mut receiver = Receiver::default();
            receiver.handle(Request::Begin(identity));
            (0..cut).for_each(|number| drop(receiver.handle(block(&bundle, number))));
            assert_eq!(receiver.handle(Request::Begin(identity)), Reply::Want(cut));
            assert!(receiver.place.deployed.is_empty());
            send(&mut receiver, &bundle, |frame| frame);
            assert_eq!(receiver.place.deployed.concat(), bundle);
        }
    }

    #[test]
    fn another_bundle_takes_the_place_of_one_that_broke_off() {
        let (one, other) = (bundle(3000), bundle(3001));
        let mut receiver = Receiver::default();
        receiver.handle(Request::Begin(Identity::of(&one).unwrap()));
        receiver.handle(block(&one, 0));
        assert_eq!(receiver.handle(Request::Begin(Identity::of(&other).unwrap())), Reply::Want(0));
        assert_eq!(receiver.stores(), 1);
        assert_eq!(receiver.handle(Request::Abort), Reply::Aborted);
        assert_eq!(receiver.stores(), 0);
        assert_eq!(receiver.handle(Request::End), refused("no transfer has begun"));
        assert_eq!(receiver.handle(block(&one, 0)), refused("no transfer has begun"));
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let mut receiver = Receiver::default();
        let begin = |length, checksum| Request::Begin(Identity { length, checksum });
        assert_eq!(receiver.handle(begin(0, 0)), refused("an empty bundle"));
        assert_eq!(receiver.handle(begin(u32::MAX, 0)), refused("too large"));
        assert_eq!(receiver.handle(begin(5, 0)), Reply::Want(0));
        assert_eq!(receiver.handle(Request::End), Reply::Want(0));
        assert_eq!(receiver.handle(Request::Block(0, b"four")), refused("a block of the wrong length"));
        receiver.handle(begin(5, 0));
        assert_eq!(receiver.handle(Request::Block(1, b"later")), Reply::Want(0));
        assert_eq!(receiver.handle(Request::Block(0, b"five!")), Reply::Want(1));
        assert_eq!(receiver.handle(Request::Block(1, b"six")), Reply::Want(1));
        assert_eq!(receiver.handle(Request::End), refused("the checksum of the whole is wrong"));
        receiver.handle(Request::Begin(Identity::of(b"\0bad").unwrap()));
        receiver.handle(Request::Block(0, b"\0bad"));
        assert_eq!(receiver.handle(Request::End), refused("bad"));
        assert_eq!((receiver.stores(), receiver.place.deployed.len()), (0, 0));
    }

    #[test]
    fn an_answer_that_was_lost_is_given_again_and_nothing_runs_twice() {
        let mut receiver = Receiver::default();
        send(&mut receiver, &bundle(10), |frame| frame);
        assert_eq!(receiver.handle(Request::End), Reply::Done);
        assert_eq!(receiver.place.deployed.len(), 1);
    }

    /// What happens to a frame on its way.
    #[derive(Debug, Clone)]
    enum Noise {
        Cut(prop::sample::Index),
        Flip(prop::sample::Index),
        Insert(prop::sample::Index, u8),
        Twice,
        None,
    }

    fn noise() -> impl Strategy<Value = Noise> {
        prop_oneof![
            any::<prop::sample::Index>().prop_map(Noise::Cut),
            any::<prop::sample::Index>().prop_map(Noise::Flip),
            any::<(prop::sample::Index, u8)>().prop_map(|(at, byte)| Noise::Insert(at, byte)),
            Just(Noise::Twice),
            Just(Noise::None),
        ]
    }

    impl Noise {
        fn change(&self, mut frame: Vec<u8>) -> Vec<u8> {
            match self {
                Self::Cut(at) => frame.truncate(at.index(frame.len())),
                Self::Flip(at) => {
                    let bit = at.index(frame.len() * 8);
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
                Self::Insert(at, byte) => frame.insert(at.index(frame.len()), *byte),
                Self::Twice => frame = frame.repeat(2),
                Self::None => {}
            }
            frame
        }
    }

    proptest! {
        #[test]
        fn noise_delays_but_does_no_harm(
            length in 1..=ROOM,
            noises in prop::collection::vec(noise(), 1..40),
        ) {
            let mut receiver = Receiver::default();
            let mut noises = noises.into_iter();
            let bundle = bundle(length);
            send(&mut receiver, &bundle, |frame| match noises.next() {
                Some(noise) => noise.change(frame),
                None => frame,
            });
            prop_assert_eq!(&receiver.place.deployed, &[bundle]);
            prop_assert_eq!(receiver.stores(), 0);
        }

        #[test]
        fn any_requests_leave_at_most_one_store(
            requests in prop::collection::vec((0..5, 0..4_u32, 0..=BLOCK_SIZE), 0..60),
        ) {
            let mut receiver = Receiver::default();
            for (kind, number, length) in requests {
                let data = bundle(length);
                let reply = receiver.handle(match kind {
                    0 => Request::Begin(Identity { length: number * 1000, checksum: number % 2 }),
                    1 | 2 => Request::Block(number, &data),
                    3 => Request::End,
                    _ => Request::Abort,
                });
                prop_assert!(receiver.stores() <= 1);
                prop_assert!(!matches!(reply, Reply::Refused(_) | Reply::Aborted) || receiver.stores() == 0);
                prop_assert!(receiver.place.deployed.is_empty(), "no checksum is right");
            }
        }
    }
}
