//! Exactly the limit is admitted, for each key, whoever asks at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use ratelimit::{Rejection, aratelimit, ratelimit, testing};

const KEYS: usize = 4;

macro_rules! under_threads {
    ($($name:ident $algorithm:literal)*) => {$(
        #[test]
        fn $name() {
            #[ratelimit(name = $algorithm, key = key, rate = "100/h", algorithm = $algorithm)]
            fn guarded(key: usize, ran: &[AtomicUsize; KEYS]) -> Result<(), Rejection> {
                ran[key].fetch_add(1, Ordering::SeqCst);
                Ok(())
            }

            let scope = testing::scope();
            let ran: [AtomicUsize; KEYS] = Default::default();
            let work = || (0..40).filter(|call| guarded(call % KEYS, &ran).is_ok()).count();
            let handle = scope.handle();
            let admitted: usize = std::thread::scope(|threads| {
                let threads: Vec<_> = (0..64)
                    .map(|_| threads.spawn(|| handle.run(work)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(ran.map(AtomicUsize::into_inner), [100; KEYS]);
            assert_eq!(admitted, 100 * KEYS);
        }
    )*};
}

under_threads! {
    sixty_four_threads_token_bucket "token_bucket"
    sixty_four_threads_leaky_bucket "leaky_bucket"
    sixty_four_threads_fixed_window "fixed_window"
    sixty_four_threads_sliding_window "sliding_window"
    sixty_four_threads_sliding_window_counter "sliding_window_counter"
    sixty_four_threads_gcra "gcra"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_tasks() {
    #[aratelimit(name = "ten thousand", key = key, rate = "500/h, 700/d", burst = [500, 700])]
    async fn guarded(key: usize) -> Result<usize, Rejection> {
        tokio::task::yield_now().await;
        Ok(key)
    }

    let scope = testing::scope();
    let tasks: Vec<_> = (0..10_000)
        .map(|task| tokio::spawn(scope.wrap(guarded(task % KEYS))))
        .collect();
    let mut admitted = [0; KEYS];
    for task in tasks {
        if let Ok(key) = task.await.unwrap() {
            admitted[key] += 1;
        }
    }
    assert_eq!(admitted, [500; KEYS]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sync_and_async_functions_of_one_name_share_one_budget() {
    #[ratelimit(name = "one budget", rate = "50/h")]
    fn sync() -> Option<()> {
        Some(())
    }

    #[aratelimit(name = "one budget", rate = "50/h")]
    async fn asynchronous() -> Option<()> {
        Some(())
    }

    let scope = testing::scope();
    let handle = scope.handle();
    let threads = tokio::task::spawn_blocking(move || {
        handle.run(|| (0..100).filter(|_| sync().is_some()).count())
    });
    let tasks: Vec<_> = (0..100)
        .map(|_| tokio::spawn(scope.wrap(asynchronous())))
        .collect();
    let mut admitted = threads.await.unwrap();
    for task in tasks {
        admitted += usize::from(task.await.unwrap().is_some());
    }
    assert_eq!(admitted, 50);
}
