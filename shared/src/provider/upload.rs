//! Handing a file over before the submit. Nothing here costs anything: whatever goes wrong, the submit was not sent.

use std::time::Duration;

use serde_json::{Map, Value};

use super::inputs::{Files, MediaFile};
use super::request::CallError;
use super::{Provider, Remote};
use crate::catalog::calls::{Upload, UploadStep};
use crate::failure::{Failure, FailureClass};
use crate::outcome::{Reply, facts};
use crate::template::{self, Variables};

/// The key of the one file of an upload's requests.
const FILE_KEY: &str = "file";

impl Provider<'_> {
    /// Uploads a file; what names it afterwards.
    pub(super) async fn upload(&self, remote: Remote<'_>, upload: &Upload, file: &MediaFile) -> Result<String, Failure> {
        let mut variables = self.base_variables(remote);
        let steps = upload.steps.iter();
        let bodies =
            steps.flat_map(|step| [step.call.body.clone(), step.call.form.clone(), step.call.raw.clone().map(Value::from)]);
        let names = bodies.flatten().filter_map(|body| template::variables(&body).ok()).flatten().collect::<Vec<_>>();
        let parts = file.parts(FILE_KEY, |part| names.iter().any(|name| name.strip_prefix("file.") == Some(part)));
        variables.insert("file".to_owned(), Value::Object(parts));
        let own = MediaFile { bytes: file.bytes.clone(), content_type: file.content_type.clone(), name: file.name.clone() };
        let files = Files::from([(FILE_KEY.to_owned(), own)]);
        let mut found = Map::new();
        for step in &upload.steps {
            variables.insert("step".to_owned(), Value::Object(found.clone()));
            found.extend(self.step(remote, step, &variables, &files).await?);
        }
        variables.insert("step".to_owned(), Value::Object(found));
        let reference = template::render_string(&upload.reference, &variables, str::to_owned).ok().flatten();
        reference.ok_or_else(|| failed("the provider's answer to an upload does not name the file"))
    }

    /// One request, repeated until it says what the step waits for; its facts.
    async fn step(
        &self,
        remote: Remote<'_>,
        step: &UploadStep,
        variables: &Variables,
        files: &Files,
    ) -> Result<Map<String, Value>, Failure> {
        let mut waited_s = 0;
        loop {
            let (reply, headers) = self
                .call_with_headers(remote, self.backend.outbound.api(), &step.call, variables, files)
                .await
                .map_err(|error: CallError| failed(&format!("a file could not be uploaded: {}", error.why())))?;
            if !(200..=299).contains(&reply.status) {
                return Err(self.refused(remote, &reply));
            }
            let mut found: Map<String, Value> =
                facts(&step.facts, &reply.body).into_iter().map(|(name, fact)| (name, Value::from(fact))).collect();
            let from_headers = step
                .header_facts
                .iter()
                .filter_map(|(name, header)| Some((name.clone(), Value::from(headers.get(header.as_str())?.to_str().ok()?))));
            found.extend(from_headers);
            let Some(until) = &step.until else { return Ok(found) };
            let word = until.pick.text(&reply.body).unwrap_or_default();
            if until.any.contains(&word) {
                return Ok(found);
            }
            if until.failed.contains(&word) {
                return Err(Failure::new(FailureClass::RejectedInput, "the provider cannot read an input file"));
            }
            if waited_s >= until.at_most_s {
                return Err(failed("the provider takes too long to read an input file"));
            }
            waited_s += until.every_s.max(1);
            self.backend.clock.sleep(Duration::from_secs(u64::from(until.every_s.max(1)))).await;
        }
    }

    fn refused(&self, remote: Remote<'_>, reply: &Reply) -> Failure {
        remote.reader().classify(Some(reply.status), &reply.body)
    }
}

fn failed(why: &str) -> Failure {
    Failure::new(FailureClass::Unavailable, why)
}
