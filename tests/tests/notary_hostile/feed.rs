//! The feed of changes: any number may be asked for, and nobody is kept waiting by those who do.

use bulla_tests::legacy::refusal;
use bulla_tests::server::{Setup, TestServer};
use serde_json::Value;

use crate::local::begin;

const GUN: &str = "localhost:5000/team/app";

#[tokio::test]
async fn any_numbers_are_answered() {
    let server = TestServer::start().await;
    begin(&server, GUN, false).await;
    let huge = "9223372036854775807";
    let tiny = "-9223372036854775808";
    let numbers = ["0", "1", "-1", "-0", "+1", "1000", "1001", huge, tiny];
    for path in ["/v2/_trust/changefeed".to_owned(), format!("/v2/{GUN}/_trust/changefeed")] {
        for records in numbers {
            for change_id in numbers {
                let url = format!("{path}?records={records}&change_id={change_id}").replace('+', "%2B");
                let answer = server.get(&url).await;
                assert_eq!(answer.status(), 200, "{url}");
                let body: Value = answer.json().await.unwrap();
                let count = body["records"].as_array().unwrap().len();
                assert_eq!(body["count"], count, "{url}");
                assert!(count <= 1, "{url}");
            }
        }
        for query in [
            "",
            "records=",
            "records",
            "records=x",
            "records=1.5",
            "records=1e3",
            "records=0x1",
            "records=%201",
            "records=9223372036854775808",
            "records=-9223372036854775809",
            "records=1&records=2",
            "records=1&change_id=x",
            "records=1&change_id=-",
            "records=1&change_id=%00",
            "records=1&change_id=18446744073709551615",
            "RECORDS=1",
            "%ff=%ff",
            "change_id=1",
            &format!("records={}", "1".repeat(5_000)),
        ] {
            let answer = server.get(&format!("{path}?{query}")).await;
            let (status, code, _) = refusal(answer).await;
            assert_eq!((status, &*code), (400, "INVALID_PARAMETERS"), "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn searches_do_not_use_up_the_server() {
    let server = TestServer::with(Setup { tokens: Some(true), ..Setup::default() }).await;
    let path = format!("/v2/{GUN}/_trust/changefeed?records=1");
    // Anybody may ask, and each answer may need the whole feed: only a few at the same time.
    let few = server.app.searches.available_permits();
    assert!(few <= 4);
    let all = server.app.searches.acquire_many(u32::try_from(few).unwrap()).await.unwrap();
    let answer = server.get(&path).await;
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(refusal(answer).await.0, 503);
    assert_eq!(server.get(&crate::site::tuf(GUN, "root.json")).await.status(), 404);
    drop(all);
    assert_eq!(server.get(&path).await.status(), 200);
    assert_eq!(server.app.searches.available_permits(), few);
}
