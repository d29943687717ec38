use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::pin::pin;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::*;

const BOUNDS: Bounds = Bounds {
    in_flight: 2,
    merged: 4,
    largest: 6,
    waiting: 10,
};

/// A store that answers when it is let, and remembers what it was asked in one call.
struct Store {
    gate: Semaphore,
    calls: Mutex<Vec<Vec<u32>>>,
    at_once: AtomicUsize,
    most: AtomicUsize,
    bound: Duration,
}

/// Answers ten times the question; questions of a thousand and more are of another lane.
impl Ask for Arc<Store> {
    type Question = u32;
    type Answer = u32;
    type Lane = u16;

    fn lane(&self, question: &u32) -> u16 {
        u16::try_from(question / 1_000).unwrap()
    }

    fn bound(&self) -> Duration {
        self.bound
    }

    async fn ask(&self, questions: Vec<u32>) -> Vec<Result<u32, Error>> {
        self.calls.lock().unwrap().push(questions.clone());
        let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(at_once, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        assert!(!questions.contains(&666), "on purpose");
        let answer = |question| match question {
            999 => Err(Error::new(ErrorKind::Refused, "not this one")),
            _ => Ok(question * 10),
        };
        let mut answers: Vec<_> = questions.into_iter().map(answer).collect();
        if answers.len() == 5 {
            answers.pop();
        }
        answers
    }
}

fn store(open: usize) -> (Arc<Store>, Arc<Batcher<Arc<Store>>>) {
    bounded(open, BOUNDS)
}

fn bounded(open: usize, bounds: Bounds) -> (Arc<Store>, Arc<Batcher<Arc<Store>>>) {
    limited(open, bounds, Duration::from_mins(1))
}

/// A call may take so long.
fn limited(open: usize, bounds: Bounds, bound: Duration) -> (Arc<Store>, Arc<Batcher<Arc<Store>>>) {
    let store = Arc::new(Store {
        gate: Semaphore::new(open),
        calls: Mutex::default(),
        at_once: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        bound,
    });
    let batcher = Arc::new(Batcher::new(Arc::clone(&store), bounds));
    (store, batcher)
}

impl Store {
    fn calls(&self) -> Vec<Vec<u32>> {
        self.calls.lock().unwrap().clone()
    }
}

fn good(answers: Vec<Result<u32, Error>>) -> Vec<u32> {
    answers.into_iter().map(Result::unwrap).collect()
}

/// What the first poll gives.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn is_idle(batcher: &Batcher<Arc<Store>>) -> bool {
    let state = batcher.inner.state();
    state.waiting == 0 && state.lanes.is_empty()
}

#[tokio::test]
async fn an_idle_store_is_asked_at_once_by_the_caller_itself() {
    let (store, batcher) = store(100);
    for question in 1..4 {
        let asked = at_once(batcher.ask(vec![question]));
        let answers = asked.expect("nobody has to be waited for");
        assert_eq!(good(answers), [question * 10]);
    }
    assert_eq!(store.calls(), [[1], [2], [3]]);
    assert!(batcher.ask(Vec::new()).await.is_empty());
    assert!(is_idle(&batcher));
}

#[tokio::test]
async fn what_comes_while_it_is_busy_is_merged_in_order() {
    let (store, batcher) = store(0);
    let mut tasks = Vec::new();
    for question in 1..=9 {
        let batcher = Arc::clone(&batcher);
        tasks.push(tokio::spawn(
            async move { batcher.ask(vec![question]).await },
        ));
        settle().await;
    }
    assert_eq!(store.calls(), [[1], [2]], "two at a time");
    store.gate.add_permits(100);
    for (task, question) in tasks.into_iter().zip(1..) {
        assert_eq!(good(task.await.unwrap()), [question * 10]);
    }
    settle().await;
    let merged = store.calls().split_off(2);
    assert_eq!(merged, [vec![3, 4, 5, 6], vec![7, 8, 9]]);
    assert_eq!(store.most.load(Ordering::Relaxed), 2);
    assert!(is_idle(&batcher));
}

#[tokio::test]
async fn a_group_stays_together_and_a_large_one_is_asked_in_order() {
    let (store, batcher) = store(0);
    let ask = |questions: Vec<u32>| {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(questions).await })
    };
    let mut tasks = vec![ask(vec![1]), ask(vec![2])];
    settle().await;
    tasks.push(ask(vec![3, 4, 5]));
    settle().await;
    tasks.push(ask(vec![6, 7]));
    settle().await;
    store.gate.add_permits(100);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.calls()[2..], [vec![3, 4, 5], vec![6, 7]]);
    let many: Vec<u32> = (100..114).collect();
    let answers = good(batcher.ask(many.clone()).await);
    assert_eq!(answers, many.iter().map(|it| it * 10).collect::<Vec<_>>());
    let calls = store.calls().split_off(4);
    assert_eq!(calls.concat(), many);
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6, 2]);
}

#[tokio::test]
async fn lanes_do_not_wait_for_each_other() {
    let (store, batcher) = store(0);
    for question in [1, 2, 3] {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(vec![question]).await });
    }
    settle().await;
    let other = Arc::clone(&batcher);
    let mixed = tokio::spawn(async move { other.ask(vec![1_001, 2_001, 1_002, 2_002]).await });
    settle().await;
    let calls = store.calls();
    assert_eq!(
        calls,
        [vec![1], vec![2], vec![1_001, 1_002], vec![2_001, 2_002]]
    );
    store.gate.add_permits(100);
    assert_eq!(good(mixed.await.unwrap()), [10_010, 20_010, 10_020, 20_020]);
    settle().await;
    assert!(is_idle(&batcher));
}

#[tokio::test]
async fn too_much_is_refused_and_room_that_was_given_up_is_used() {
    let (store, batcher) = store(0);
    let ask = |questions: Vec<u32>| {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(questions).await })
    };
    let mut kept = vec![ask(vec![1]), ask(vec![2])];
    settle().await;
    let given_up = ask((10..16).collect());
    kept.push(ask((20..24).collect()));
    settle().await;
    let refused = batcher.ask(vec![30, 31]).await;
    assert_eq!(refused.len(), 2);
    for answer in refused {
        let error = answer.unwrap_err();
        assert_eq!(
            error.to_string(),
            "overloaded: 10 questions wait for the store already"
        );
    }
    given_up.abort();
    settle().await;
    kept.push(ask(vec![40, 41]));
    settle().await;
    store.gate.add_permits(100);
    for task in kept {
        good(task.await.unwrap());
    }
    assert!(
        !store.calls().concat().contains(&10),
        "nobody wants to know"
    );
    settle().await;
    assert!(is_idle(&batcher));
}

#[tokio::test]
async fn a_caller_that_goes_away_lets_the_others_go_on() {
    let (store, batcher) = store(0);
    let ask = |question| {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(vec![question]).await })
    };
    let holders = [ask(1), ask(2)];
    settle().await;
    let waits = ask(3);
    settle().await;
    holders[0].abort();
    settle().await;
    assert_eq!(store.calls(), [[1], [2], [3]], "its call is free again");
    store.gate.add_permits(100);
    assert_eq!(good(waits.await.unwrap()), [30]);
    settle().await;
    assert!(is_idle(&batcher));
}

#[tokio::test]
async fn one_error_is_one_answers_and_a_wrong_number_of_answers_is_none() {
    let (_store, batcher) = store(100);
    let answers = batcher.ask(vec![1, 999, 2]).await;
    let kinds: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(kinds, [true, false, true]);
    for answer in batcher.ask(vec![1, 2, 3, 4, 5]).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn a_panic_hurts_those_alone_who_were_waiting_for_it() {
    let (store, batcher) = store(0);
    let ask = |question| {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(vec![question]).await })
    };
    let holders = [ask(1), ask(2)];
    settle().await;
    let panics = ask(666);
    settle().await;
    store.gate.add_permits(100);
    for holder in holders {
        good(holder.await.unwrap());
    }
    let error = panics.await.unwrap().remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(ask(666).await.is_err(), "this caller asked by itself");
    settle().await;
    assert!(is_idle(&batcher));
    assert_eq!(good(batcher.ask(vec![7]).await), [70]);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_runtime_that_ends_leaves_nothing_behind() {
    let (store, batcher) = store(0);
    let first = runtime();
    for question in [1, 2, 3] {
        let batcher = Arc::clone(&batcher);
        first.spawn(async move { batcher.ask(vec![question]).await });
    }
    first.block_on(settle());
    let second = runtime();
    let waits = Arc::clone(&batcher);
    let waits = second.spawn(async move { waits.ask(vec![4]).await });
    second.block_on(settle());
    assert_eq!(store.calls().len(), 2);
    drop(first);
    store.gate.add_permits(100);
    let answers = second.block_on(waits).unwrap();
    assert_eq!(good(answers), [40], "it is asked for where it waits");
    second.block_on(settle());
    assert!(is_idle(&batcher));
}

#[test]
fn outside_of_any_runtime_everybody_asks_by_himself() {
    let (store, batcher) = store(100);
    let answers = at_once(batcher.ask(vec![1])).expect("it is open");
    assert_eq!(good(answers), [10]);
    assert_eq!(store.calls(), [[1]]);
}

#[test]
fn whatever_is_asked_from_many_threads_is_answered() {
    let roomy = Bounds {
        waiting: 100,
        ..BOUNDS
    };
    let (store, batcher) = bounded(1_000_000, roomy);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let task = |first: u32| {
        let batcher = Arc::clone(&batcher);
        async move {
            for round in 0..200 {
                let questions: Vec<u32> = (0..=round % 3).map(|it| first + it * 1_000).collect();
                let answers =
                    tokio::time::timeout(Duration::from_mins(1), batcher.ask(questions.clone()));
                let wanted: Vec<u32> = questions.iter().map(|it| it * 10).collect();
                assert_eq!(good(answers.await.expect("an answer")), wanted);
            }
        }
    };
    let tasks: Vec<_> = (0..10).map(|first| runtime.spawn(task(first))).collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    assert!(store.most.load(Ordering::Relaxed) <= 3 * BOUNDS.in_flight);
}

const SHORT: Duration = Duration::from_millis(500);

const ONE: Bounds = Bounds {
    in_flight: 1,
    ..BOUNDS
};

/// In real time.
#[tokio::test]
async fn a_caller_that_nobody_polls_does_not_keep_its_place() {
    let (store, batcher) = limited(0, ONE, SHORT);
    let mut idle = Box::pin(batcher.ask(vec![1]));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(idle.as_mut().poll(&mut nobody).is_pending());
    let ask = |question| {
        let batcher = Arc::clone(&batcher);
        tokio::spawn(async move { batcher.ask(vec![question]).await })
    };
    let queued = ask(2);
    settle().await;
    assert_eq!(store.calls(), [[1]], "it may be busy");
    std::thread::sleep(SHORT * 2);
    let comes = ask(3);
    settle().await;
    assert_eq!(store.calls(), [[1], [3]]);
    // The store answers the idle one as well, which does not listen.
    store.gate.add_permits(100);
    assert_eq!(good(comes.await.unwrap()), [30]);
    assert_eq!(good(queued.await.unwrap()), [20]);
    settle().await;
    assert!(is_idle(&batcher), "its place is somebody else's");
    let again = ask(4);
    assert_eq!(good(idle.await), [10]);
    assert_eq!(good(again.await.unwrap()), [40]);
    settle().await;
    assert!(is_idle(&batcher));
}

/// In real time.
#[test]
fn a_runtime_that_stands_still_does_not_keep_its_place() {
    let (store, batcher) = limited(1, ONE, SHORT);
    let (first, second) = (runtime(), runtime());
    let ask = |runtime: &Runtime, question| {
        let batcher = Arc::clone(&batcher);
        runtime.spawn(async move { batcher.ask(vec![question]).await })
    };
    store.gate.forget_permits(1);
    let own = ask(&first, 1);
    first.block_on(settle());
    let queued = ask(&first, 2);
    first.block_on(settle());
    store.gate.add_permits(1);
    first.block_on(settle());
    assert_eq!(store.calls(), [[1], [2]], "a task asks what has queued");
    std::thread::sleep(SHORT * 2);
    let comes = ask(&second, 3);
    second.block_on(settle());
    assert_eq!(store.calls(), [[1], [2], [3]]);
    store.gate.add_permits(100);
    assert_eq!(good(second.block_on(comes).unwrap()), [30]);
    assert_eq!(good(first.block_on(own).unwrap()), [10]);
    first.block_on(queued).unwrap();
    first.block_on(settle());
    assert!(is_idle(&batcher));
}
