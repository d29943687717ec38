//! What holds the keys that find no room.

use super::*;

#[test]
fn without_room_new_keys_share_one_bucket_per_policy() {
    let (backend, clock) = backend(2);
    let one = policy(Algorithm::FixedWindow, "3/m");
    let other = Policy::named("other".into(), one.algorithm(), *one.limits());
    assert!(admit(&backend, &one, "a"));
    assert!(admit(&backend, &one, "b"));
    // c, d and e find no room: three units for all of them.
    assert!(admit(&backend, &one, "c"));
    assert!(admit(&backend, &one, "d"));
    assert!(admit(&backend, &one, "c"));
    assert!(!admit(&backend, &one, "e"));
    assert!(!admit(&backend, &one, "c"));
    assert!(admit(&backend, &other, "c"), "the bucket is the policy's");
    assert!(admit(&backend, &one, "a"), "kept keys have their own");
    clock.advance(MINUTE);
    assert!(admit(&backend, &one, "e"), "the next window");
    assert_eq!(remaining(&backend, &one, "e"), 2);
}

#[test]
fn a_key_that_finds_room_again_starts_with_what_the_overflow_has_used() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .max_keys(1)
        .build();
    let short = policy(Algorithm::FixedWindow, "1/s");
    let long = Policy::named(
        "long".into(),
        Algorithm::FixedWindow,
        "3/m".parse().unwrap(),
    );
    assert!(admit(&backend, &short, "fills the backend"));
    assert!(admit(&backend, &long, "c"));
    assert!(admit(&backend, &long, "c"));
    clock.advance(Duration::from_secs(2));
    // There is room now; a fresh budget would admit three more.
    assert!(admit(&backend, &long, "c"));
    assert!(!admit(&backend, &long, "c"));
    // The backend is full again: d shares what is left of the overflow bucket.
    assert!(admit(&backend, &long, "d"));
    assert!(!admit(&backend, &long, "d"));
    clock.advance(MINUTE);
    assert_eq!(remaining(&backend, &long, "c"), 3);
}

/// What is logged meanwhile, a line each.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Lines(Arc::clone(&lines)))
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let lines = lines.lock().unwrap();
    let text = String::from_utf8(lines.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn the_overflow_is_logged_once_a_minute_for_each_policy() {
    let (backend, clock) = backend(1);
    let one = policy(Algorithm::FixedWindow, "1/d");
    let other = Policy::named("other".into(), one.algorithm(), *one.limits());
    let flood = |policy: &Policy| {
        for key in 0..100 {
            admit(&backend, policy, &key.to_string());
        }
    };
    let lines = logged(|| flood(&one));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in ["WARN", "policy=\"p\"", "max_keys=1", "share one bucket"] {
        assert!(lines[0].contains(part), "{lines:#?}");
    }
    assert_eq!(logged(|| flood(&other)).len(), 1);
    clock.advance(Duration::from_secs(59));
    assert_eq!(logged(|| flood(&one)).len(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(logged(|| flood(&one)).len(), 1);
}

#[test]
fn what_is_charged_later_counts_without_room_too() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    assert!(admit(&backend, &policy, "fills the backend"));
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let nothing = now(backend.peek(&[check])).remove(0).unwrap();
    let adjust = Adjust::new(check, nothing.charge().clone(), 2);
    let charged = now(backend.adjust(&[adjust])).remove(0).unwrap();
    assert_eq!((charged.charge().cost(), charged.remaining()), (2, 1));
    assert!(admit(&backend, &policy, "k"));
    assert!(!admit(&backend, &policy, "k"));
}

#[test]
fn a_flood_of_policies_grows_memory_no_more_than_one_of_keys() {
    let (backend, clock) = backend(1);
    let of = |index: usize| {
        let name = format!("policy {index}");
        Policy::named(name.into(), Algorithm::Gcra, "1/m".parse().unwrap())
    };
    let day = policy(Algorithm::FixedWindow, "1/d");
    assert!(admit(&backend, &day, "fills the backend"));
    let most = crate::memory::overflow::MOST_POLICIES;
    for index in 0..most {
        assert!(admit(&backend, &of(index), "k"));
    }
    let key = KeyBuf::of("k");
    let policy = of(most);
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let error = backend.decide_now(&check).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let (known, twice): (_, Limits) = (of(3), "2/m".parse().unwrap());
    let checks = [Check::new(&known, &twice, key.as_ref()), check];
    clock.advance(MINUTE / 2);
    let answers = now(backend.decide(&checks, Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert!(answers[1].is_err());
    assert_eq!(backend.engine.overflowing(), most);
    clock.advance(MINUTE / 2);
    assert!(admit(&backend, &policy, "k"));
    assert_eq!(backend.engine.overflowing(), 1);
}

#[test]
fn a_clock_that_steps_back_does_not_leave_the_overflow_in_use() {
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    let (backend, clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "1/m");
    let brief = Policy::named("brief".into(), Algorithm::Gcra, "1/s".parse().unwrap());
    clock.advance(YEARS);
    assert!(admit(&backend, &brief, "fills the backend"));
    assert!(admit(&backend, &policy, "a"));
    clock.advance(Duration::from_secs(2));
    clock.step_back(YEARS);
    now(backend.reset(&[Check::new(
        &brief,
        brief.limits(),
        KeyBuf::of("fills the backend").as_ref(),
    )]))
    .unwrap();
    for _ in 0..3 {
        assert!(!admit(&backend, &policy, "new"));
        clock.advance(MINUTE / 3);
    }
    clock.advance(MINUTE);
    assert!(admit(&backend, &policy, "new"));
}

#[test]
fn a_caller_that_is_overtaken_takes_the_overflow_to_no_earlier_time() {
    let clock = Arc::new(Interrupted {
        clock: ManualClock::new(),
        meanwhile: Mutex::new(None),
    });
    let backend = Arc::new(full_backend_of_segments(Arc::clone(&clock)));
    let policy = policy(Algorithm::FixedWindow, "3/m");
    clock.clock.advance(Duration::from_secs(59));
    let (sender, admitted) = mpsc::channel();
    let meanwhile = {
        let (backend, policy, clock) = (Arc::clone(&backend), policy.clone(), clock.clock.clone());
        move || {
            clock.advance(Duration::from_secs(1));
            // Those in the other shard are not held up.
            for key in 0..16 {
                let (backend, policy, sender) =
                    (Arc::clone(&backend), policy.clone(), sender.clone());
                thread::spawn(move || {
                    let _ = sender.send(admit(&backend, &policy, &format!("meanwhile {key}")));
                });
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    *clock.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    let mut count = usize::from(admit(&backend, &policy, "overtaken"));
    count += admitted
        .iter()
        .take(16)
        .filter(|admitted| *admitted)
        .count();
    count += (0..9).filter(|_| admit(&backend, &policy, "later")).count();
    assert_eq!(count, 3);
}

#[test]
fn a_new_key_that_is_overtaken_starts_at_the_time_of_the_overflow() {
    let clock = Arc::new(Interrupted {
        clock: ManualClock::new(),
        meanwhile: Mutex::new(None),
    });
    let backend = Arc::new(full_backend_of_segments(Arc::clone(&clock)));
    let policy = policy(Algorithm::FixedWindow, "3/m");
    clock.clock.advance(Duration::from_secs(59));
    assert!(admit(&backend, &policy, "k"), "through the overflow");
    // It was looked everywhere for keys that can be forgotten, so that nobody waits for "k" below.
    let elsewhere = Policy::named("elsewhere".into(), Algorithm::Gcra, *policy.limits());
    for key in 0..10 {
        admit(&backend, &elsewhere, &key.to_string());
    }

    // After the time of "k" was read, the next minute begins, the overflow is used in it, and there
    // is room.
    let meanwhile = {
        let (backend, policy, clock) = (Arc::clone(&backend), policy.clone(), clock.clock.clone());
        move || {
            clock.advance(Duration::from_secs(1));
            assert!(admit(&backend, &policy, "other"));
            let limits = "1/366d".parse().unwrap();
            let filler = Policy::named("filler".into(), Algorithm::FixedWindow, limits);
            let freed = KeyBuf::of("7");
            let check = Check::new(&filler, filler.limits(), freed.as_ref());
            now(backend.reset(&[check])).unwrap();
        }
    };
    *clock.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    let admitted = (0..9).filter(|_| admit(&backend, &policy, "k")).count();
    assert_eq!(admitted, 2, "of three, one is the overflow's");
    let check = Check::new(&policy, policy.limits(), KeyBuf::of("k").as_ref()).to_owned();
    let found = backend
        .engine
        .states
        .table
        .find(backend.engine.key(&check.as_check()));
    assert!(found.is_some(), "it has found room");
}

#[test]
fn what_writes_the_log_may_be_limited_itself() {
    let (backend, _clock) = backend(1);
    let (backend, denied) = (Arc::new(backend), Arc::new(AtomicUsize::new(0)));
    let writer = Limited(Arc::clone(&backend), Arc::clone(&denied));
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let policy = policy(Algorithm::FixedWindow, "1/d");
        tracing::subscriber::with_default(subscriber, || {
            admit(&backend, &policy, "fills the backend");
            admit(&backend, &policy, "k");
            let key = KeyBuf::of("k");
            let other = Policy::named("other".into(), policy.algorithm(), *policy.limits());
            let check = Check::new(&other, other.limits(), key.as_ref());
            now(backend.decide(&[check, check], Join::All));
        });
        let _ = sender.send(());
    });
    done.recv_timeout(Duration::from_secs(20))
        .expect("no lock is held while the log is written");
    assert!(denied.load(Ordering::SeqCst) > 1);
}

#[test]
fn an_overflow_bucket_is_in_use_until_it_is_fresh_whatever_others_are() {
    let (backend, clock) = backend(1);
    let of = |index: u32| {
        let limits = if index == 5 { "1/d" } else { "1/m" };
        let name = format!("policy {index}");
        Policy::named(name.into(), Algorithm::Gcra, limits.parse().unwrap())
    };
    assert!(admit(
        &backend,
        &policy(Algorithm::Gcra, "1/m"),
        "fills the backend"
    ));
    for index in 0..10 {
        assert!(admit(&backend, &of(index), "k"));
    }
    clock.advance(2 * MINUTE);
    assert!(!admit(&backend, &of(5), "k"));
    assert_eq!(backend.engine.overflowing(), 1);
    clock.advance(Duration::from_hours(24));
    assert!(admit(&backend, &of(5), "k"));
    assert_eq!(backend.engine.overflowing(), 0);
}

/// A writer of log lines that is limited itself.
#[derive(Clone)]
struct Limited(Arc<MemoryBackend>, Arc<AtomicUsize>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = policy(Algorithm::FixedWindow, "1/d");
        if !admit(&self.0, &lines, "k") {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
