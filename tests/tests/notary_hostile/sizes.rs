//! More bytes and more parts than anybody sends. An old server took sixty megabytes into memory
//! before it looked at them.

use bulla_tests::legacy::File;
use reqwest::Response;

use crate::case::Answer::{Refused, Taken};
use crate::case::{Case, judge, try_all};
use crate::insider::Insider;
use crate::site::{Reader, Site, tuf};

fn long(insider: &Insider, wire: &str, bytes: usize) -> Vec<File> {
    let (_, mut content) = insider.file("targets", insider.next("targets"));
    content.resize(content.len().max(bytes), b' ');
    vec![(wire.to_owned(), content)]
}

fn parts(insider: &Insider, count: usize) -> Vec<File> {
    vec![insider.file("targets", insider.next("targets")); count]
}

fn different(insider: &Insider) -> Vec<File> {
    let next = insider.next("targets");
    vec![insider.file("targets", next), insider.file("targets", next + 1)]
}

#[rustfmt::skip]
const SIZES: &[Case] = &[
    ("targets as long as they may be", |i| long(i, "targets", 5_000_000), Taken),
    ("targets that are too long", |i| long(i, "targets", 5_000_001), Refused("ErrValidation", "targets is longer than 5000000 bytes")),
    ("a root that is too long", |i| long(i, "root", 512_001), Refused("ErrValidation", "root is longer than 512000 bytes")),
    ("a timestamp that is too long", |i| long(i, "timestamp", 16_385), Refused("ErrValidation", "timestamp is longer than 16384 bytes")),
    ("a snapshot that is too long", |i| long(i, "snapshot", 2_000_001), Refused("ErrValidation", "snapshot is longer than 2000000 bytes")),
    ("as many parts as there may be", |i| parts(i, 64), Taken),
    ("too many parts", |i| parts(i, 65), Refused("ErrValidation", "there are more than 64 parts")),
    ("one role with two contents", different, Refused("ErrBadTargets", "targets was uploaded twice")),
    ("seven parts of five megabytes", |i| vec![long(i, "targets", 5_000_000).remove(0); 7], Refused("ErrValidation", "the body is longer than 33554432 bytes")),
];

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_and_harms_nobody() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/sizes", false).await;
    try_all(&site, &mut insider, SIZES).await;
    endless(&site, &insider).await;
    site.is_readable(&insider, &mut Reader::of(&insider.gun)).await;
}

/// A body whose length nobody told: sixty megabytes, and the server may hang up before.
async fn endless(site: &Site, insider: &Insider) {
    let head = b"--b\r\nContent-Disposition: form-data; filename=\"targets\"\r\n\r\n".to_vec();
    let chunks = std::iter::once(head).chain(std::iter::repeat_n(vec![b' '; 1 << 20], 60));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks.map(Ok::<_, std::io::Error>)));
    let request = site.request(reqwest::Method::POST, &tuf(&insider.gun, ""));
    let request = request.header("content-type", "multipart/form-data; boundary=b").body(body);
    let answer: Result<Response, _> = request.send().await;
    if let Ok(answer) = answer {
        judge("endless", answer, Refused("ErrValidation", "targets is longer than")).await.unwrap();
    }
}
