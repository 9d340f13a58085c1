use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, mpsc},
    task::{self, yield_now},
    time::timeout,
};

use super::TaskPool;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

const LONG: Duration = Duration::from_secs(20);

/// Until everything that can run here has run.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn futures_that_follow_each_other_share_a_task() {
    let pool = TaskPool::<Work>::new(4);
    let (ran, mut runs) = mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for turn in 0..10 {
        let ran = ran.clone();
        pool.run(Box::pin(async move {
            yield_now().await;
            ran.send((turn, task::id())).unwrap();
        }));
        settle().await;
        let (ran, id) = runs.try_recv().unwrap();
        assert_eq!(ran, turn);
        tasks.push(id);
    }
    tasks.dedup();
    assert_eq!(tasks.len(), 1);
}

#[tokio::test]
async fn each_has_a_task_of_its_own_and_no_more_of_them_wait_than_may() {
    let pool = TaskPool::<Work>::new(4);
    let doors = Arc::new(Semaphore::new(0));
    for _ in 0..3 {
        for _ in 0..10 {
            let doors = doors.clone();
            pool.run(Box::pin(async move {
                doors.acquire().await.unwrap().forget();
            }));
        }
        settle().await;
        assert_eq!(alive(), 10);
        doors.add_permits(10);
        settle().await;
        assert_eq!((alive(), doors.available_permits()), (4, 0));
    }
}

#[tokio::test]
async fn a_future_that_is_over_is_dropped_though_none_follows() {
    let pool = TaskPool::<Work>::new(1);
    let held = Arc::new(());
    let holds = held.clone();
    pool.run(Box::pin(poll_fn(move |_| {
        assert_eq!(Arc::strong_count(&holds), 2);
        Poll::Ready(())
    })));
    settle().await;
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(alive(), 1, "and its task waits");
}

#[tokio::test]
async fn one_that_panics_takes_only_its_task_along() {
    let pool = TaskPool::<Work>::new(4);
    let (ran, mut runs) = mpsc::unbounded_channel();
    for panics in [false, true, false, true, false] {
        let ran = ran.clone();
        pool.run(Box::pin(async move {
            assert!(!panics, "as it should");
            ran.send(()).unwrap();
        }));
        settle().await;
        assert_eq!(runs.try_recv().is_ok(), !panics);
        assert_eq!(alive(), usize::from(!panics));
    }
}

#[tokio::test]
async fn with_the_pool_end_those_that_wait_and_the_others_with_their_futures() {
    let pool = TaskPool::<Work>::new(4);
    let door = Arc::new(Semaphore::new(0));
    let opened = door.clone();
    pool.run(Box::pin(async move {
        opened.acquire().await.unwrap().forget();
    }));
    for _ in 0..3 {
        pool.run(Box::pin(yield_now()));
    }
    settle().await;
    assert_eq!(alive(), 4);
    drop(pool);
    settle().await;
    assert_eq!(alive(), 1);
    door.add_permits(1);
    settle().await;
    assert_eq!((alive(), door.available_permits()), (0, 0));
}

#[tokio::test]
async fn a_wake_from_what_is_over_does_nothing() {
    let pool = TaskPool::<Work>::new(4);
    let kept = Arc::new(Mutex::new(None));
    let keeps = kept.clone();
    pool.run(Box::pin(poll_fn(move |cx| {
        *keeps.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(())
    })));
    settle().await;
    let late = kept.lock().unwrap().take().unwrap();
    for polls in 1..4 {
        late.wake_by_ref();
        settle().await;
        assert_eq!(alive(), 1);
        let count = Arc::new(AtomicUsize::new(0));
        let counts = count.clone();
        pool.run(Box::pin(async move {
            counts.fetch_add(1, SeqCst);
        }));
        late.wake_by_ref();
        settle().await;
        assert_eq!((count.load(SeqCst), alive()), (1, 1), "run {polls}");
    }
}

#[test]
fn tasks_that_went_with_their_runtime_get_nothing_from_another() {
    let pool = TaskPool::<Work>::new(4);
    for _ in 0..2 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                let (ran, mut runs) = mpsc::channel(1);
                pool.run(Box::pin(async move { ran.send(()).await.unwrap() }));
                assert_eq!(timeout(LONG, runs.recv()).await, Ok(Some(())));
                settle().await;
            }
            assert_eq!(alive(), 1, "one waits");
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_runs_once_whoever_ends_and_whichever_thread_it_is_on() {
    const EACH: usize = 2_000;
    let ran = Arc::new(AtomicUsize::new(0));
    let pools: Vec<_> = (0..8)
        .map(|index| {
            let ran = ran.clone();
            task::spawn(async move {
                let pool = TaskPool::<Work>::new(index);
                for turn in 0..EACH {
                    let ran = ran.clone();
                    pool.run(Box::pin(async move {
                        for _ in 0..turn % 3 {
                            yield_now().await;
                        }
                        ran.fetch_add(1, SeqCst);
                    }));
                    if turn % 7 == 0 {
                        yield_now().await;
                    }
                }
            })
        })
        .collect();
    for pool in pools {
        pool.await.unwrap();
    }
    let all_over = async {
        while alive() > 0 {
            yield_now().await;
        }
    };
    timeout(LONG, all_over).await.unwrap();
    assert_eq!(ran.load(SeqCst), 8 * EACH);
}
