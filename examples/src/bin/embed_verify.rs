//! The verifier inside a program of your own, in forty lines: what must be pulled for a tag, or why
//! nothing may be.
//!
//!     embed_verify FOLDER SERVER CA_FILE ROOT_SHA256 IMAGE
//!
//! FOLDER keeps what was trusted between runs, which is what stops an older state from being
//! shown again: give the same one each time.

use anyhow::{Result, bail};
use bulla::flow::verify::{VerifyError, verify};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins, Scope};
use bulla::wiring::{GlobalArgs, Settings};
use bulla_keys_schema::names::ImageRef;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, server, ca_file, root, image] = arguments.as_slice() else {
        bail!("usage: embed_verify FOLDER SERVER CA_FILE ROOT_SHA256 IMAGE");
    };
    let image: ImageRef = image.parse()?;

    // Where to ask, and where to keep what was trusted.
    let settings = Settings::load(GlobalArgs {
        home: Some(folder.into()),
        server: Some(server.parse()?),
        ca_cert: Some(ca_file.into()),
        ..GlobalArgs::default()
    })?;

    // Whom to trust. It comes from the admin over another way, never from the server.
    let scope: Scope = image.repository().to_string().parse()?;
    if Pins::load(settings.home())?.find(image.repository()).is_none() {
        let root = PinnedRoot::Document(root.parse()?);
        let pin = Pin { scope, mode: Mode::Spec, root, server: None };
        Pins::update(settings.home(), |pins| pins.add(pin))?;
    }

    // "No" is an answer. Every other error means that there is none: do not pull then either.
    let world = settings.world(image.repository())?;
    match verify(world.ports(), &image).await {
        Ok(trusted) => println!("pull {}@{}", trusted.repository, trusted.digest.to_oci()),
        Err(VerifyError::Refused(refusal)) => bail!("refused: {refusal}"),
        Err(error) => bail!("cannot tell: {error}"),
    }
    Ok(())
}
