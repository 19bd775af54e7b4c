//! The file name of a part is the role, and libraries disagree on how to read it.

use crate::case::Answer::{self, Code, Refused, Taken};
use crate::case::judge;
use crate::insider::Insider;
use crate::site::{Reader, Site};

const ROLE: Answer = Code("INVALID_ROLE");
const NONE: Answer = Code("NO_FILENAME");
const BROKEN: Answer = Code("MALFORMED_UPLOAD");

/// One part with this head, as bytes: a file name need not be text.
fn body(head: &[u8], content: &[u8]) -> Vec<u8> {
    [b"--b\r\n", head, b"\r\n\r\n", content, b"\r\n--b--\r\n"].concat()
}

/// What stands in the head of a part after `Content-Disposition: `.
#[rustfmt::skip]
const NAMES: &[(&str, Answer)] = &[
    (r#"form-data; name="files"; filename="targets""#, Taken),
    (r#"form-data; name="files"; filename="targets.json""#, Taken),
    (r#"form-data; filename="targets"; name="files""#, Taken),
    (r#"form-data; name="root"; filename="targets""#, Taken),
    (r#"form-data; name=files; filename=targets"#, Taken),
    (r#"form-data;filename="targets""#, Taken),
    (r#"attachment; filename="targets""#, Taken),
    (r#"form-data; filename="targets"; filename*=UTF-8''root"#, Taken),
    (r#"form-data; filename*=UTF-8''root; filename="targets""#, NONE),
    (r#"form-data; filename*=UTF-8''targets"#, NONE),
    (r#"form-data; filename*0="tar"; filename*1="gets""#, NONE),
    (r#"form-data; filename="targets"; filename="root""#, Taken),
    (r#"form-data; filename="root"; filename="targets""#, Refused("ErrBadRoot", "root: ")),
    (r#"form-data; name="targets""#, NONE),
    (r#"form-data; filename="""#, NONE),
    (r#"form-data; filename="#, NONE),
    (r#"form-data; filename"#, NONE),
    (r#"form-data; filename="targets"#, NONE),
    (r#"form-data"#, NONE),
    (r#""#, NONE),
    (r#"form-data; filename="targets/../root""#, ROLE),
    (r#"form-data; filename="../targets""#, ROLE),
    (r#"form-data; filename="./targets""#, ROLE),
    (r#"form-data; filename="..%2ftargets""#, ROLE),
    (r#"form-data; filename="targets%2falice""#, ROLE),
    (r#"form-data; filename="%74argets""#, ROLE),
    (r#"form-data; filename="targets\alice""#, ROLE),
    (r#"form-data; filename="C:\targets""#, ROLE),
    (r#"form-data; filename="tar\"gets""#, ROLE),
    (r#"form-data; filename="targets\""#, NONE),
    (r#"form-data; filename="targets.json.json""#, ROLE),
    (r#"form-data; filename=".json""#, ROLE),
    (r#"form-data; filename="targets.JSON""#, ROLE),
    (r#"form-data; filename="1.targets.json""#, ROLE),
    (r#"form-data; filename="Targets""#, ROLE),
    (r#"form-data; filename=" targets""#, ROLE),
    (r#"form-data; filename="targets ""#, ROLE),
    (r#"form-data; filename="targets/""#, ROLE),
    (r#"form-data; filename="targets//alice""#, ROLE),
    (r#"form-data; filename="/targets""#, ROLE),
    (r#"form-data; filename="targets/Alice""#, ROLE),
    (r#"form-data; filename="releases""#, ROLE),
    (r#"form-data; filename="mirrors""#, ROLE),
    ("form-data; filename=\"targets/\u{430}lice\"", ROLE),
    ("form-data; filename=\"\u{202e}stegrat\"", ROLE),
    ("form-data; filename=\"tar\tgets\"", ROLE),
    ("form-data; filename=\"targets\0\"", BROKEN),
    ("form-data; filename=\"tar\u{1b}[2Jgets\"", BROKEN),
    ("form-data; filename=\"tar\r\ngets\"", BROKEN),
    ("form-data; filename=\"targets\"\r\nContent-Disposition: form-data; filename=\"root\"", Refused("ErrBadRoot", "root: ")),
];

#[tokio::test(flavor = "multi_thread")]
async fn file_names_are_roles_or_nothing() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/file-names", false).await;
    let mut reader = Reader::of(&insider.gun);
    let mut names: Vec<(Vec<u8>, Answer)> =
        NAMES.iter().map(|(text, answer)| (text.as_bytes().to_vec(), *answer)).collect();
    for long in [300, 3_000, 300_000] {
        let name = format!("form-data; filename=\"targets/{}\"", "a".repeat(long));
        names.push((name.into_bytes(), ROLE));
    }
    names.push((b"form-data; filename=\"targets\xff\"".to_vec(), NONE));
    for (text, expected) in names {
        let what = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
        let head = [b"Content-Disposition: ", &*text].concat();
        let sent = content(&insider);
        judge(&what, site.post_body(&insider.gun, body(&head, &sent)).await, expected).await.unwrap();
        if matches!(expected, Taken) {
            insider.accepted(vec![("targets".into(), sent)]);
        }
        site.is_readable(&insider, &mut reader).await;
    }
}

fn content(insider: &Insider) -> Vec<u8> {
    insider.file("targets", insider.next("targets")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_multipart_or_nothing() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/bodies", false).await;
    let mut reader = Reader::of(&insider.gun);
    let good =
        |insider: &Insider| body(b"Content-Disposition: form-data; filename=\"targets\"", &content(insider));
    let headers = |count: usize| {
        let head = (0..count).map(|n| format!("x{n}: y\r\n")).collect::<String>();
        let head = head + "Content-Disposition: form-data; filename=\"targets\"";
        move |insider: &Insider| body(head.as_bytes(), &content(insider))
    };
    let cut = |by: usize| move |insider: &Insider| good(insider)[..good(insider).len() - by].to_vec();
    type Make = Box<dyn Fn(&Insider) -> Vec<u8>>;
    let bodies: Vec<(&str, Make, Answer)> = vec![
        ("as it should be", Box::new(good), Taken),
        ("a few heads", Box::new(headers(20)), Taken),
        ("a thousand heads", Box::new(headers(1_000)), BROKEN),
        ("a head without end", Box::new(|_| [b"--b\r\nx: ".to_vec(), vec![b'y'; 1 << 20]].concat()), BROKEN),
        ("no last boundary", Box::new(cut(9)), BROKEN),
        ("half of a boundary", Box::new(cut(5)), BROKEN),
        ("half of a part", Box::new(cut(100)), BROKEN),
        ("nothing", Box::new(|_| Vec::new()), BROKEN),
        ("nothing but a boundary", Box::new(|_| b"--b".to_vec()), BROKEN),
        ("another boundary", Box::new(|_| b"--c\r\n--c--\r\n".to_vec()), BROKEN),
        (
            "something in front",
            Box::new(move |i| [b"x".repeat(1_000), b"\r\n".to_vec(), good(i)].concat()),
            Taken,
        ),
        ("no part at all", Box::new(|_| b"--b--\r\n".to_vec()), Taken),
        (
            "a part without content",
            Box::new(|_| body(b"Content-Disposition: form-data; filename=\"targets\"", b"")),
            Code("MALFORMED_JSON"),
        ),
    ];
    for (what, make, expected) in bodies {
        let bytes = make(&insider);
        judge(what, site.post_body(&insider.gun, bytes).await, expected).await.unwrap();
        if matches!(expected, Taken) && what != "no part at all" {
            insider.accepted(vec![insider.file("targets", insider.next("targets"))]);
        }
        site.is_readable(&insider, &mut reader).await;
    }
    for media_type in [
        "multipart/mixed; boundary=b",
        "multipart/form-data",
        "application/json",
        "\"",
        "multipart/form-data; boundary=",
    ] {
        let request = site.request(reqwest::Method::POST, &crate::site::tuf(&insider.gun, ""));
        let request = request.header("content-type", media_type).body(good(&insider));
        judge(media_type, request.send().await.unwrap(), BROKEN).await.unwrap();
    }
}
