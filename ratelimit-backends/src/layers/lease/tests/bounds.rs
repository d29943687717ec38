//! However many processes share a budget, and whatever they ask for, not more is admitted than stated.

use ratelimit_core::{Limits, ManualClock, Timestamp};

use super::*;

/// What was admitted, and when.
#[derive(Default)]
struct Admitted(Vec<(Timestamp, u32)>);

impl Admitted {
    /// What was admitted in each window of a period.
    fn in_windows(&self, period: Duration) -> Vec<u32> {
        let mut windows = std::collections::BTreeMap::new();
        for (at, cost) in &self.0 {
            *windows
                .entry(u128::from(at.as_nanos()) / period.as_nanos())
                .or_default() += cost;
        }
        windows.into_values().collect()
    }

    /// The largest excess over `burst + rate × (length + life)` of any interval, in units.
    fn excess(&self, limits: &Limits, life: Duration) -> f64 {
        let mut worst = f64::MIN;
        for limit in limits.as_slice() {
            let rate = f64::from(limit.rate().limit()) / limit.rate().period().as_secs_f64();
            let burst = f64::from(limits.capacity(Algorithm::TokenBucket));
            for (place, (from, _)) in self.0.iter().enumerate() {
                let mut sum = 0.0;
                for (to, cost) in &self.0[place..] {
                    sum += f64::from(*cost);
                    let time = (to.since(*from) + life).as_secs_f64();
                    worst = f64::max(worst, sum - burst - rate * time);
                }
            }
        }
        worst
    }
}

/// A generator of Marsaglia's, so that runs can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Several processes ask for as much as they like, and give some of it back; sometimes one goes away
/// without giving back anything.
async fn load(seed: u64, policy: &Policy, processes: usize, steps: usize) -> Admitted {
    let scene = Scene::new();
    let mut random = Random(seed * 2 + 1);
    let mut all: Vec<_> = (0..processes).map(|_| scene.process().0).collect();
    let mut admitted = Admitted::default();
    for _ in 0..steps {
        let calls = random.below(60);
        let process = usize::try_from(random.below(processes as u64)).unwrap();
        for _ in 0..calls {
            let cost = if random.below(10) == 0 { 3 } else { 1 };
            let check = check(policy).with_cost(cost);
            let decision = ask(&all[process], check).await;
            if !decision.is_allowed() {
                continue;
            }
            if random.below(20) == 0 {
                let adjusts = [Adjust::refund(check, decision.charge().clone())];
                all[process].adjust(&adjusts).await;
            } else {
                admitted.0.push((scene.clock.now(), cost));
            }
        }
        settle().await;
        match random.below(100) {
            0 => all[process] = scene.process().0,
            1 => all[process].close().await,
            _ => {}
        }
        scene
            .clock
            .advance(Duration::from_micros(random.below(20_000)));
        settle().await;
    }
    admitted
}

#[tokio::test]
async fn windows_are_never_exceeded() {
    for seed in 0..10 {
        let policy = policy(Algorithm::FixedWindow, "500/250ms, 1500/s");
        let admitted = load(seed, &policy, 3, 400).await;
        let most = admitted.in_windows(Duration::from_millis(250));
        assert!(most.iter().all(|sum| *sum <= 500), "{seed}: {most:?}");
        let most = admitted.in_windows(Duration::from_secs(1));
        assert!(most.iter().all(|sum| *sum <= 1_500), "{seed}: {most:?}");
        assert!(
            most.iter().any(|sum| *sum > 1_450),
            "{seed}: never used up {most:?}"
        );
    }
}

#[tokio::test]
async fn buckets_admit_what_they_give_in_a_slices_life_more_at_most() {
    for (seed, rates) in (0..10).zip(["1000/s", "300/s, 900/500ms"].into_iter().cycle()) {
        let policy = bucket(rates);
        let admitted = load(seed, &policy, 3, 400).await;
        let excess = admitted.excess(policy.limits(), LIFE);
        assert!(excess <= 0.0, "{seed}: {excess}");
        let excess = admitted.excess(policy.limits(), Duration::ZERO);
        assert!(excess > -50.0, "{seed}: not much was asked for: {excess}");
    }
}

/// What is taken from the end of a window and from the beginning of the next is not one slice.
#[tokio::test]
async fn a_slice_is_of_one_window() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "1000/s");
    scene.clock.advance(Duration::from_millis(950));
    for _ in 0..400 {
        ask(&process, check(&policy)).await;
        settle().await;
    }
    // There is less than is asked for: from now on it is asked for as much as there is.
    let rest = scene.store.remaining(check(&policy)).await;
    let rest = check(&policy).with_cost(rest);
    scene.store.memory.decide(&[rest], Join::Each).await;
    while process.decide_now(&check(&policy)).is_some() {}
    settle().await;
    process
        .decide(&[check(&policy).with_cost(2)], Join::Each)
        .await;
    scene.store.memory.reset(&[rest]).await.unwrap();
    // Now there is, but the window ends after the first half of it.
    let end = Duration::from_millis(50).saturating_sub(Duration::from_nanos(1));
    scene.clock.advance(end);
    *scene.store.pace.lock().unwrap() = Some(Duration::from_nanos(1));
    scene.store.calls();
    let lost = stats.lost();
    let asked = check(&policy).with_cost(2);
    assert!(process.decide(&[asked], Join::Each).await[0].is_ok());
    // As much as is needed, which is not there any more, and then what is needed.
    assert_eq!(scene.store.calls(), [vec![1, 1], vec![2]]);
    assert_eq!(stats.lost(), lost + 1, "one is of the window that is over");
}

/// A store that reads its clock in ticks may be in the next window a tick earlier than it says.
#[tokio::test]
async fn a_slice_of_a_window_allows_for_the_stores_ticks() {
    let clock = ManualClock::new();
    let mut store = Store::new(&clock);
    let tick = Duration::from_millis(10);
    Arc::get_mut(&mut store).unwrap().capabilities.resolution = tick;
    let scene = Scene { clock, store };
    let (process, _) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "1000/s");
    scene.clock.advance(Duration::from_millis(950));
    warm(&process, check(&policy)).await;
    scene
        .clock
        .advance(Duration::from_millis(40).saturating_sub(Duration::from_nanos(1)));
    assert!(process.decide_now(&check(&policy)).is_some());
    scene.clock.advance(Duration::from_nanos(1));
    assert!(process.decide_now(&check(&policy)).is_none());
}

/// Callers that block and others ask by requests of their own, at the same time.
#[tokio::test]
async fn what_is_too_much_goes_back_at_once() {
    let scene = Scene::new();
    let lease = Lease::new().clock(scene.clock.clone());
    let main = lease
        .layer(Arc::new(Bridged(Arc::clone(&scene.store))))
        .unwrap();
    let blocking = main.bridged().unwrap();
    let policy = bucket("1000/h");
    for _ in 0..500 {
        ask(&main, check(&policy)).await;
        settle().await;
    }
    scene.store.calls();
    main.reset(&[check(&policy)]).await.unwrap();
    scene.store.back();
    Store::shut(&scene.store.gate);
    let waiters = [main.clone(), blocking].map(|process| {
        let policy = policy.clone();
        tokio::spawn(async move { process.decide(&[check(&policy)], Join::Each).await })
    });
    settle().await;
    assert_eq!(scene.store.calls(), [[101], [101]]);
    scene.store.gate.add_permits(1_000);
    for waiter in waiters {
        assert!(waiter.await.unwrap()[0].is_ok());
    }
    settle().await;
    assert_eq!(scene.store.back(), [-100]);
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000 - 102);
}

/// All of it can be spent, however it is held.
#[tokio::test]
async fn one_process_gets_all_that_there_is() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "1000/h");
    for _ in 0..1_000 {
        assert!(ask(&process, check(&policy)).await.is_allowed());
    }
    for _ in 0..10 {
        let denied = ask(&process, check(&policy)).await;
        assert!(!denied.is_allowed());
        assert_eq!(denied.retry_after(), Duration::from_hours(1));
    }
    // Where there is nothing, no more is asked for than needed to say so.
    scene.store.calls();
    for _ in 0..10 {
        ask(&process, check(&policy)).await;
    }
    assert_eq!(scene.store.calls(), vec![vec![1]; 10]);
}

/// What others hold is at most a share of the limit, and not for longer than a life.
#[tokio::test]
async fn what_is_stranded_is_bounded() {
    let scene = Scene::new();
    let policy = bucket("1000/h");
    let mut admitted = 0;
    let mut quiet = Vec::new();
    for _ in 0..3 {
        let (process, _) = scene.process();
        for _ in 0..60 {
            admitted += u32::from(ask(&process, check(&policy)).await.is_allowed());
            settle().await;
        }
        quiet.push(process);
    }
    let (busy, _) = scene.process();
    let mut more = 0;
    while ask(&busy, check(&policy)).await.is_allowed() {
        more += 1;
    }
    let stranded = 1_000 - admitted - more;
    assert!((1..=3 * 100).contains(&stranded), "{stranded}");
    scene.clock.advance(LIFE);
    settle().await;
    for _ in 0..stranded {
        assert!(ask(&busy, check(&policy)).await.is_allowed());
    }
    assert!(!ask(&busy, check(&policy)).await.is_allowed());
}

/// What is held already is part of what is held ahead.
#[tokio::test]
async fn not_more_is_held_than_is_worth_it() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for call in 1..=2_000 {
        ask(&process, check(&policy)).await;
        settle().await;
        let held = 1_000_000 - call - scene.store.remaining(check(&policy)).await;
        assert!(held <= call / 4 + 1, "{held} after {call} calls");
    }
}

/// Threads that block and tasks, at the same time.
#[test]
fn a_window_is_exact_under_contention() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let scene = Scene::new();
    let policy = policy(Algorithm::FixedWindow, "20000/h");
    let processes: Vec<_> = (0..2).map(|_| scene.process().0).collect();
    let tasks = (0..32).map(|task| {
        let (process, policy) = (Arc::clone(&processes[task % 2]), policy.clone());
        runtime.spawn(async move {
            let mut admitted = 0;
            for _ in 0..1_000 {
                admitted += u32::from(ask(&process, check(&policy)).await.is_allowed());
            }
            admitted
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += runtime.block_on(task).unwrap();
    }
    assert!(admitted <= 20_000, "{admitted}");
    assert!(admitted >= 20_000 - 2 * 2_000, "{admitted}");
    // What is left is still there.
    scene.clock.advance(LIFE);
    runtime.block_on(async {
        settle().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        while ask(&processes[0], check(&policy)).await.is_allowed() {
            admitted += 1;
        }
    });
    assert_eq!(admitted, 20_000);
}
