//! What the tasks of a port share, in the orders in which threads can meet: the crate's own file, with
//! loom's primitives in the place of std's and tokio's.

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use pool::{LEAST, MOST, Pool};

#[path = "../src/pool.rs"]
mod pool;

mod sync {
    //! tokio's Notify, for one that waits.

    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};

    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use loom::sync::Mutex;

    #[derive(Debug, Default)]
    pub(crate) struct Notify(Mutex<(bool, Option<Waker>)>);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notify_one(&self) {
            let waker = {
                let mut state = self.0.lock().unwrap();
                state.0 = true;
                state.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }

        pub(crate) async fn notified(&self) {
            poll_fn(|context| {
                let mut state = self.0.lock().unwrap();
                if std::mem::take(&mut state.0) {
                    return Poll::Ready(());
                }
                state.1 = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}

#[test]
fn of_binds_that_are_taken_at_the_same_time_one_is_the_last() {
    loom::model(|| {
        let pool = Arc::new(Pool::new());
        // Another waits, and is dropped with its task.
        drop(pool.wait());
        let threads = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.wait().end())
        });
        let last = threads.map(|thread| thread.join().unwrap());
        assert!(last[0] || last[1], "none noticed that all were taken");
        assert_eq!(pool.waiting(), 0);
    });
}

/// Has BINDs begun until there are so many, while others change how many there should be.
fn as_many_are_begun(count: usize, others: [fn(&Pool); 2]) {
    let mut model = loom::model::Builder::new();
    // Switches between threads at any point, of which so many are enough to find most faults (Musuvathi
    // and Qadeer, PLDI 2007); all orders of three threads are too many to go through.
    model.preemption_bound = Some(3);
    model.check(move || {
        let pool = Arc::new(Pool::new());
        let threads = others.map(|change| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || change(&pool))
        });
        block_on(async {
            let mut begun = 0;
            while begun < count {
                begun = pool.wanted();
                if begun < count {
                    pool.grown().await;
                }
            }
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!((count..=MOST).contains(&pool.wanted()));
    });
}

#[test]
fn no_growth_is_missed() {
    as_many_are_begun(LEAST, [|pool| assert!(pool.granted()), |_| {}]);
    as_many_are_begun(LEAST, [Pool::grow, Pool::grow]);
    as_many_are_begun(
        LEAST,
        [Pool::grow, |pool| {
            assert!(pool.granted());
            // No less than this, whatever the other does.
            let _ = pool.shrink();
        }],
    );
}

#[test]
fn a_grant_is_news_once() {
    loom::model(|| {
        let pool = Arc::new(Pool::new());
        let threads = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.granted())
        });
        let news = threads.map(|thread| thread.join().unwrap());
        assert!(news[0] != news[1]);
    });
}
