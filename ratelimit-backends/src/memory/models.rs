//! The concurrent core under a model checker: every order in which two threads can see the loads and
//! stores of a line, or of the two between which a key is moved. CONTRIBUTING.md has the command.

use loom::sync::Arc;
use loom::thread;

use super::line::{Head, Line, Seen, Words};
use super::sync::AtomicU64;
use super::table::transfer;

const A: u64 = 0xa100;
const B: u64 = 0xb200;

/// A line with its words.
struct Owned(Words);

impl Owned {
    fn empty() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn line(&self) -> Line<'_> {
        Line::of(&self.0)
    }
}

/// A line in which one slot is A's; the first slot also holds the lock.
fn line_of_a(slot: usize, word: u64) -> Arc<Owned> {
    let line = Owned::empty();
    line.line().lock().put(slot, Head::new(A, 2), word);
    Arc::new(line)
}

/// What a reader without a lock takes for a key's state.
fn read(line: Line<'_>, tag: u64) -> Option<Seen> {
    line.find(tag).filter(|seen| line.holds(seen))
}

fn for_each_slot(model: impl Fn(usize) + Sync + Send + Copy + 'static) {
    for slot in [0, 1] {
        loom::model(move || model(slot));
    }
}

#[test]
fn nobody_takes_the_word_of_one_key_for_that_of_another() {
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let writer = Arc::clone(&line);
        let writer = thread::spawn(move || writer.line().lock().put(slot, Head::new(B, 2), 20));
        for (tag, word) in [(A, 10), (B, 20)] {
            if let Some(seen) = read(line.line(), tag) {
                assert_eq!(seen.word, word);
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_word_is_read_with_the_packing_that_it_was_made_with() {
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let writer = Arc::clone(&line);
        let writer = thread::spawn(move || writer.line().lock().put(slot, Head::new(A, 3), 20));
        if let Some(seen) = read(line.line(), A) {
            assert!(matches!(
                (seen.head.packing(), seen.word),
                (2, 10) | (3, 20)
            ));
        }
        writer.join().unwrap();
    });
    // Who knows the packing looks for both at once.
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let writer = Arc::clone(&line);
        let writer = thread::spawn(move || writer.line().lock().put(slot, Head::new(A, 3), 20));
        for (packing, word) in [(2, 10), (3, 20)] {
            let seen = line.line().find_head(Head::new(A, packing));
            if let Some(seen) = seen.filter(|seen| line.line().holds(seen)) {
                assert_eq!(seen.word, word);
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn no_charge_overwrites_another() {
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let charge = |line: Line<'_>| {
            let seen = read(line, A).expect("nobody takes it away");
            u64::from(line.replace(&seen, seen.word + 1))
        };
        let other = Arc::clone(&line);
        let other = thread::spawn(move || charge(other.line()));
        let charged = charge(line.line()) + other.join().unwrap();
        assert!(charged > 0, "one of them has nobody in its way");
        assert_eq!(read(line.line(), A).unwrap().word, 10 + charged);
    });
}

#[test]
fn a_charge_is_seen_by_who_holds_the_lock_after_it() {
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let locking = Arc::clone(&line);
        let locking = thread::spawn(move || {
            let locked = locking.line().lock();
            let seen = locked.find(A).expect("nobody takes it away");
            locked.put(slot, seen.head, seen.word + 1);
        });
        let seen = read(line.line(), A);
        let charged = seen.is_some_and(|seen| line.line().replace(&seen, seen.word + 1));
        locking.join().unwrap();
        assert_eq!(read(line.line(), A).unwrap().word, 11 + u64::from(charged));
    });
}

#[test]
fn a_key_that_is_charged_is_not_forgotten_meanwhile() {
    for_each_slot(|slot| {
        let line = line_of_a(slot, 10);
        let forgetting = Arc::clone(&line);
        let forgetting = thread::spawn(move || {
            let locked = forgetting.line().lock();
            let seen = locked.find(A).expect("nobody takes it away");
            // As when it equals a fresh key: a charge before this would have to be seen.
            if seen.word == 10 {
                locked.clear(slot);
            }
            seen.word
        });
        let seen = read(line.line(), A);
        let charged = seen.is_some_and(|seen| line.line().replace(&seen, seen.word + 1));
        let found = forgetting.join().unwrap();
        assert_eq!(found, 10 + u64::from(charged));
        assert_eq!(read(line.line(), A).is_some(), charged);
    });
}

#[test]
fn a_key_that_is_moved_keeps_every_charge_and_is_in_one_place() {
    for to_second in [true, false] {
        loom::model(move || {
            let mut lines = [line_of_a(1, 10), Arc::new(Owned::empty())];
            if !to_second {
                lines.reverse();
            }
            let moving = lines.clone();
            let moving = thread::spawn(move || {
                let lines = moving.each_ref().map(|line| line.line());
                transfer(lines, to_second, A, &|_| ())
            });
            // As who finds the key without a lock: in neither line is no answer.
            let mut charged = 0;
            for line in &lines {
                if let Some(seen) = read(line.line(), A)
                    && line.line().replace(&seen, seen.word + 1)
                {
                    charged += 1;
                }
            }
            assert!(moving.join().unwrap(), "there is room");
            let [first, second] = lines.each_ref().map(|line| read(line.line(), A));
            let (from, to) = if to_second {
                (first, second)
            } else {
                (second, first)
            };
            assert_eq!(from, None);
            assert_eq!(to.unwrap().word, 10 + charged);
        });
    }
}
