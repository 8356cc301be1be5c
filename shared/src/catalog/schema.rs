//! The JSON Schema of manifests, for editors.

use serde_json::Value;

use super::manifest::Manifest;

/// The JSON Schema (2020-12) of a provider's manifest: what `catalog/manifest.schema.json` holds. It knows the shape; what belongs together
/// is checked when a manifest is loaded.
pub fn manifest_schema() -> Value {
    schemars::schema_for!(Manifest).to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::catalog::BUILT_IN;

    fn mistakes(manifest: &Value) -> Vec<String> {
        let validator = jsonschema::options().build(&manifest_schema()).expect("a JSON Schema");
        validator.iter_errors(manifest).map(|error| format!("{} {error}", error.instance_path())).collect()
    }

    #[test]
    fn the_built_in_manifests_satisfy_the_schema() {
        for (file, text) in BUILT_IN {
            let manifest = serde_json::from_str(text).expect("JSON");
            assert_eq!(mistakes(&manifest), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn the_schema_knows_every_member() {
        let mut manifest: Value = serde_json::from_str(BUILT_IN[2].1).expect("JSON");
        for (parent, member) in [("", "modles"), ("/limits", "per_second"), ("/times", "poll"), ("/models/0", "inputs")] {
            let mut broken = manifest.clone();
            broken.pointer_mut(parent).expect("there")[member] = Value::Bool(true);
            assert_ne!(mistakes(&broken), Vec::<String>::new(), "`{member}` is not known");
        }
        manifest["limits"]["concurrency"] = Value::from(0);
        assert_ne!(mistakes(&manifest), Vec::<String>::new(), "0 is no limit");
    }
}
