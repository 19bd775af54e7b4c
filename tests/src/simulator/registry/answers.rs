//! The registry over HTTP.

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use serde_json::json;

use super::{ANY, NotTaken, OCI_INDEX, Registry, RegistryFault};
use crate::simulator::wire::{Reply, Request, Sending};

/// Where blobs are sent, with a query that must be kept.
const UPLOAD: &str = "/v2/upload?_state=a%2Fb%3D";

impl Registry {
    pub(super) fn reply(&self, request: &Request) -> Reply {
        let login = request.headers.get("authorization");
        self.state().logins.extend(login.cloned());
        let fault = self.state().fault.clone();
        if let Some(RegistryFault::Token(reply)) = &fault {
            if request.path.starts_with("/token") {
                self.state().asked.push(request.path.clone());
                return reply.clone();
            }
            if !login.is_some_and(|login| login.starts_with("Bearer ")) {
                let host = request.headers.get("host").cloned().unwrap_or_default();
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"registry\"");
                return Reply::new(401, Bytes::new()).with("www-authenticate", challenge);
            }
        }
        if request.path.trim_end_matches('/') == "/v2" {
            return Reply::new(200, "{}".into());
        }
        match request.method.as_str() {
            "GET" | "HEAD" => self.read(request),
            _ => self.write(request),
        }
    }

    fn read(&self, request: &Request) -> Reply {
        if let Some((_, rest)) = request.path.rsplit_once("/referrers/") {
            return self.list_referrers(request, rest);
        }
        if let Some((_, rest)) = request.path.rsplit_once("/tags/list") {
            return self.list_tags(request, rest);
        }
        if let Some((_, reference)) = request.path.rsplit_once("/manifests/") {
            let (bytes, fault) = self.ask(reference);
            return manifest(bytes, fault, self.state().habits.conditional);
        }
        let digest = request.path.rsplit_once("/blobs/").map(|(_, digest)| Sha256Digest::parse_oci(digest));
        let Some(Ok(digest)) = digest else { return Reply::new(404, Bytes::new()) };
        let (bytes, fault) = {
            let state = self.state();
            (state.kept.blob(ANY, digest), state.fault.clone())
        };
        manifest(bytes, fault, false)
    }

    fn list_referrers(&self, request: &Request, rest: &str) -> Reply {
        let state = self.state();
        if let Some(RegistryFault::Referrers(status)) = state.fault {
            return Reply::new(status, "{}".into());
        }
        let (digest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (Some(at_once), Ok(digest)) = (state.habits.referrers_at_once, Sha256Digest::parse_oci(digest))
        else {
            return Reply::new(404, "404 page not found".into());
        };
        let all = state.kept.referrers(ANY, digest);
        let first = query.strip_prefix("from=").and_then(|from| from.parse().ok()).unwrap_or(0);
        let page: Vec<_> = all.iter().skip(first).take(at_once).cloned().collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page});
        let reply = Reply::new(200, index.to_string().into()).with("content-type", OCI_INDEX);
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if first + at_once < all.len() || state.habits.endless_lists {
            return reply.with("link", format!("<{path}?from={}>; rel=\"next\"", first + at_once));
        }
        reply
    }

    fn list_tags(&self, request: &Request, query: &str) -> Reply {
        let state = self.state();
        let asked = |name: &str| {
            let mut parameters = query.trim_start_matches('?').split('&');
            parameters.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
        };
        let (count, last) = (asked("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX), asked("last"));
        let all = state.kept.tags(ANY);
        let rest: Vec<_> = all.iter().filter(|tag| last.is_none_or(|last| tag.as_str() > last)).collect();
        // Never more than three, whatever is asked for.
        let page: Vec<_> = rest.iter().take(count.min(3)).collect();
        let reply = Reply::new(200, json!({"name": "it", "tags": page}).to_string().into());
        match page.last() {
            Some(last) if page.len() < rest.len() || state.habits.endless_lists => {
                let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
                reply.with("link", format!("<{path}?n={count}&last={last}>; rel=\"next\""))
            }
            _ => reply,
        }
    }

    fn write(&self, request: &Request) -> Reply {
        let fault = self.state().meet();
        match fault {
            Some(RegistryFault::Writes(status)) => {
                let error = json!({"errors": [{"code": "DENIED", "message": "told to refuse"}]});
                return Reply::new(status, error.to_string().into());
            }
            Some(RegistryFault::Hangup) => {
                return Reply { status: 200, headers: Vec::new(), body: Sending::Nothing };
            }
            _ => {}
        }
        if request.method == "POST" && request.path.ends_with("/blobs/uploads/") {
            return Reply::new(202, Bytes::new()).with("location", UPLOAD);
        }
        if let Some(query) = request.path.strip_prefix(UPLOAD) {
            let named = query.strip_prefix("&digest=").map(|digest| digest.replace("%3A", ":"));
            let digest = self.state().kept.put_blob(ANY, request.body.clone());
            return Reply::new(if named == Some(digest.to_oci()) { 201 } else { 400 }, Bytes::new());
        }
        match request.path.rsplit_once("/manifests/") {
            Some((_, reference)) if request.method == "PUT" => {
                let forgets = matches!(fault, Some(RegistryFault::Forgets));
                self.put_manifest(request, reference, forgets)
            }
            _ => Reply::new(405, Bytes::new()),
        }
    }

    fn put_manifest(&self, request: &Request, reference: &str, forgets: bool) -> Reply {
        let mut state = self.state();
        state.written.push(reference.to_owned());
        state.admit_rivals(reference);
        let there = state.kept.manifest(ANY, reference).map(|(bytes, _)| entity_tag(&bytes));
        let header = |name: &str| request.headers.get(name);
        let fits = header("if-match").is_none_or(|wanted| Some(wanted) == there.as_ref())
            && (header("if-none-match").is_none() || there.is_none());
        if state.habits.conditional && !fits {
            return Reply::new(412, "{}".into());
        }
        let tag = Some(reference).filter(|reference| Sha256Digest::parse_oci(reference).is_err());
        let media_type = header("content-type").cloned().unwrap_or_default();
        let mut thrown_away = state.kept.clone();
        let kept = if forgets { &mut thrown_away } else { &mut state.kept };
        let taken = kept.push(ANY, tag, request.body.clone(), &media_type);
        let error = |code: &str| Reply::new(400, json!({"errors": [{"code": code}]}).to_string().into());
        let reply = match taken {
            Err(NotTaken::BlobUnknown) => return error("MANIFEST_BLOB_UNKNOWN"),
            Err(NotTaken::Invalid) => return error("MANIFEST_INVALID"),
            Ok(digest) => Reply::new(201, Bytes::new()).with("docker-content-digest", digest.to_oci()),
        };
        state.admit_overwriters(reference);
        let manifest: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match (state.habits.referrers_at_once, manifest["subject"]["digest"].as_str()) {
            (Some(_), Some(subject)) => reply.with("oci-subject", subject),
            _ => reply,
        }
    }
}

fn entity_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Sha256Digest::of(bytes).to_oci())
}

fn manifest(bytes: Option<Bytes>, fault: Option<RegistryFault>, versions: bool) -> Reply {
    let claimed = bytes.as_ref().map(|bytes| Sha256Digest::of(bytes));
    let good = |bytes: Bytes, digest: Sha256Digest| {
        let tag = entity_tag(&bytes);
        let reply = Reply::new(200, bytes).with("docker-content-digest", digest.to_oci());
        let reply = reply.with("content-type", super::OCI_MANIFEST);
        if versions { reply.with("etag", tag) } else { reply }
    };
    let with = |body: Sending| Reply { status: 200, headers: Vec::new(), body };
    match (fault, bytes, claimed) {
        (Some(RegistryFault::Instead(other)), _, Some(claimed)) => good(other, claimed),
        (Some(RegistryFault::Claims(digest)), Some(bytes), _) => good(bytes, digest),
        (Some(RegistryFault::Endless), ..) => with(Sending::Endless),
        (Some(RegistryFault::Slow(pause)), Some(bytes), _) => with(Sending::Dripping(bytes, pause)),
        (Some(RegistryFault::Truncated), Some(bytes), _) => {
            with(Sending::Lying(bytes.len(), bytes.slice(..bytes.len() / 2)))
        }
        (Some(RegistryFault::Status(status)), ..) => Reply::new(status, "{}".into()),
        (Some(RegistryFault::Redirect(url)), ..) => Reply::new(307, Bytes::new()).with("location", url),
        (Some(RegistryFault::Hangup), ..) => with(Sending::Nothing),
        (_, Some(bytes), Some(claimed)) => good(bytes, claimed),
        (_, _, _) => Reply::new(404, "{}".into()),
    }
}
