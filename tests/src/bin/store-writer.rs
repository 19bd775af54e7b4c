//! Publishes into an embedded store as fast as it is told to, and prints one line for every
//! acknowledged publication. Crash tests kill it, cut its power and make its calls fail.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_server::store::{
    Closed, Closing, NewRequest, PublishError, RequestState, StoredRequest, TrustStore,
};
use bulla_tests::crash::{Ack, READY, SEGMENT, request_id};
use bulla_tests::store_contract::{Shape, name, publication, time};

/// What to do, from the command line: `DATA PUBLISHERS LARGE PAUSE_MS`. With no publishers
/// the store is opened and closed.
struct Job {
    data: PathBuf,
    publishers: u64,
    large: usize,
    pause: Duration,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let data = PathBuf::from(args.next().expect("DATA"));
    let mut number = || args.next().map_or(0, |text| text.parse::<u64>().expect("a number"));
    let (publishers, large) = (number(), usize::try_from(number()).unwrap());
    let job = Job { data, publishers, large, pause: Duration::from_millis(number()) };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(run(job));
}

async fn run(job: Job) {
    let options = Options { segment_bytes: SEGMENT, ..Options::default() };
    let store = Arc::new(EmbeddedStore::open(&job.data, &options).expect("the store opens"));
    say(READY);
    let publishers: Vec<_> = (0..job.publishers)
        .map(|publisher| {
            let store = Arc::clone(&store);
            // Every fourth shares a repository with others, to have conflicts on the way.
            let repository = match publisher % 4 {
                0 => name("example.com/shared"),
                _ => name(&format!("example.com/own-{publisher}")),
            };
            let shape = Shape { large: job.large, salt: publisher };
            tokio::spawn(publish_for_ever(store, repository, shape, job.pause))
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    store.close().await.unwrap();
}

/// Publishes one number after the other, until this process is killed.
async fn publish_for_ever(
    store: Arc<dyn TrustStore>,
    repository: RepositoryName,
    shape: Shape,
    pause: Duration,
) {
    loop {
        publish(&*store, &repository, shape).await;
        tokio::time::sleep(pause).await;
    }
}

/// Publishes the next number on top of the head, again and again until nobody was faster. Each
/// publication completes a signing request, which is stored before.
async fn publish(store: &dyn TrustStore, repository: &RepositoryName, shape: Shape) {
    loop {
        let head = store.head(repository).await.expect("a head can be read");
        let number = head.as_ref().map_or(0, |head| head.current[&RoleName::Targets].version.get()) + 1;
        let mut next = publication(repository, head.as_ref().map(|head| head.token), number, shape);
        if let Some(head) = &head {
            next.current.insert(RoleName::Root, head.current[&RoleName::Root].clone());
        }
        next.completes = open_request(store, repository, number, shape).await;
        let request = next.completes;
        match store.publish(next).await {
            Ok(published) => {
                let (repository, position) = (repository.clone(), published.position);
                say(&Ack { repository, number, shape, position }.to_string());
                return;
            }
            Err(PublishError::Conflict { .. } | PublishError::Busy) => {
                close(store, repository, request).await;
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A request of its own for this publication; `None` while there is no room for it.
async fn open_request(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    number: u64,
    shape: Shape,
) -> Option<RequestState> {
    let id = request_id(repository, number, shape);
    let bytes = vec![b'r'; shape.large].into();
    let request = NewRequest {
        repository: repository.clone(),
        id,
        expected: None,
        not_after: time(number as i64),
        bytes,
    };
    match store.put_request(request).await {
        Ok(revision) => return Some(RequestState { id, revision }),
        Err(PublishError::Conflict { .. } | PublishError::Full { .. } | PublishError::Busy) => {}
        Err(error) => panic!("{error}"),
    }
    // Stored before the last stop, or closed.
    match store.request(repository, id).await.expect("a request can be read") {
        Some(StoredRequest::Open { open, .. }) => Some(open.request),
        Some(StoredRequest::Closed(_)) | None => None,
    }
}

/// Closes a request that somebody overtook.
async fn close(store: &dyn TrustStore, repository: &RepositoryName, request: Option<RequestState>) {
    let Some(request) = request else { return };
    let (repository, actor) = (repository.clone(), "writer".to_owned());
    let closing = Closing { repository, request, how: Closed::Stale, actor, at: time(0) };
    match store.close_request(closing).await {
        Ok(()) | Err(PublishError::Busy) => {}
        Err(error) => panic!("{error}"),
    }
}

/// One line in one call, so that no line is mixed with another.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
