//! One published port: a pool of BINDs that wait for its connections.
//!
//! Each BIND of the pool is a task that asks the parent, waits for a connection, leaves it to a task of
//! its own and asks again at once. The pool begins with one, so that a port that cannot be had costs
//! one question; then it has [`LEAST`]. When all of them are taken at the same time it doubles, up to
//! [`MOST`]; a BIND that the parent ends unused, as `proxify-relay` does after 30 s, leaves a larger
//! pool. Clients that come while none waits are kept by the parent's kernel.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::{Accepted, Command, ExchangeError, Parent, Seldom, Stream, carry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::activity::{Activity, Published};
use crate::pool::Pool;
use crate::ports::Publication;
use crate::program::Program;
use crate::trouble::{Failure, Trouble};

/// A BIND that ends sooner than this, and unused, was not really granted: nothing is said to be
/// published, and the pool does not grow.
const SHORT: Duration = Duration::from_millis(100);

/// How often a client is told of, beside those that are left out.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A port and its pool.
#[derive(Debug)]
pub(crate) struct Port {
    publication: Publication,
    parent: Parent,
    program: Program,
    /// A permit for each BIND and each connection.
    connections: Arc<Semaphore>,
    pool: Pool,
    trouble: Mutex<Trouble>,
    clients: Mutex<Seldom>,
    refusals: Mutex<Seldom>,
    activity: Activity,
    published: Published,
}

impl Port {
    pub(crate) fn new(
        publication: Publication,
        parent: Parent,
        program: Program,
        connections: Arc<Semaphore>,
        activity: Activity,
    ) -> Self {
        Self {
            publication,
            parent,
            program,
            connections,
            pool: Pool::new(),
            trouble: Mutex::default(),
            clients: Mutex::new(Seldom::new(TELL_EVERY)),
            refusals: Mutex::default(),
            activity,
            published: Published::default(),
        }
    }

    /// Publishes until it is dropped. The connections that it has taken go on.
    pub(crate) async fn run(self) {
        let port = Arc::new(self);
        let published = Arc::clone(&port.published);
        let _listed = port.activity.list(port.publication, published);
        let mut pool = JoinSet::new();
        loop {
            while pool.len() < port.pool.wanted() {
                pool.spawn(Arc::clone(&port).bind_again_and_again());
            }
            tokio::select! {
                () = port.pool.grown() => {}
                Some(_) = pool.join_next() => {}
            }
        }
    }

    /// One BIND of the pool after the other, until there are too many.
    async fn bind_again_and_again(self: Arc<Self>) {
        let mut failed = 0;
        loop {
            // It is never closed.
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                return;
            };
            let failure = match self.bind().await {
                Ok(accepted) => match self.wait(accepted, permit).await {
                    Waited::Taken => {
                        failed = 0;
                        continue;
                    }
                    Waited::Unused if self.pool.shrink() => return,
                    Waited::Unused => {
                        failed = 0;
                        continue;
                    }
                    Waited::Failed(failure) => failure,
                },
                Err(failure) => failure,
            };
            debug!(port = %self.publication, "not published: {failure}");
            if self.pool.waiting() == 0 {
                self.published.store(false, Ordering::Relaxed);
            }
            if let Some(said) = lock(&self.trouble).say(&failure, Instant::now().into_std()) {
                let parent = self.publication.parent;
                warn!(%parent, why = %said, "a port of the parent is not published");
            }
            sleep(failure.pause(failed)).await;
            failed = failed.saturating_add(1);
        }
    }

    async fn bind(&self) -> Result<Accepted, Failure> {
        let listen = self.publication.parent;
        let accepted = self.parent.request(Command::Bind(listen)).await?;
        // The old parent takes no notice of the address.
        if accepted.bound.ip().is_unspecified() && !listen.ip().is_unspecified() {
            return Err(Failure::Open);
        }
        Ok(accepted)
    }

    /// Waits for a connection, and leaves it to a task of its own.
    async fn wait(
        self: &Arc<Self>,
        mut accepted: Accepted,
        permit: OwnedSemaphorePermit,
    ) -> Waited {
        let waiting = self.pool.wait();
        let (held, client) = {
            let mut client = pin!(accepted.accept_peer());
            match timeout(SHORT, &mut client).await {
                Ok(client) => (false, client),
                Err(_) => {
                    self.granted();
                    (true, client.await)
                }
            }
        };
        let last = waiting.end();
        match client {
            Ok(client) => {
                self.granted();
                if last {
                    self.pool.grow();
                }
                self.tell_of(client);
                let served = Arc::clone(self).serve(accepted.stream, client);
                tokio::spawn(async move {
                    served.await;
                    drop(permit);
                });
                Waited::Taken
            }
            Err(ExchangeError::Closed) if held => Waited::Unused,
            Err(source) => Waited::Failed(Failure::Ended(source)),
        }
    }

    /// The parent listens.
    fn granted(&self) {
        self.published.store(true, Ordering::Relaxed);
        if self.pool.granted() {
            let Publication { parent, program } = &self.publication;
            info!(%parent, program, "a port of the parent is published");
        }
        if lock(&self.trouble).over() {
            let parent = self.publication.parent;
            warn!(%parent, "a port of the parent is published now");
        }
    }

    async fn serve(self: Arc<Self>, stream: Stream, client: SocketAddr) {
        let program = self.publication.program;
        let _open = self.activity.enter();
        match self.program.connect().await {
            Ok(connection) => {
                let end = carry(stream, Stream::Tcp(connection)).await;
                debug!(%client, program, "connection ended: {end:?}");
            }
            // The stream is closed with it, and so is the client's connection.
            Err(error) => {
                if let Some(left_out) = lock(&self.refusals).admit(Instant::now()) {
                    warn!(%client, program, %error, left_out, "a connection is closed: its program does not take it");
                }
            }
        }
    }

    fn tell_of(&self, client: SocketAddr) {
        let program = self.publication.program;
        debug!(%client, program, "connection");
        if let Some(left_out) = lock(&self.clients).admit(Instant::now()) {
            info!(%client, program, left_out, "a connection from the parent");
        }
    }
}

/// How a wait ended.
enum Waited {
    Taken,
    /// The parent ended it, in good order.
    Unused,
    Failed(Failure),
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What they guard is whole after each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
