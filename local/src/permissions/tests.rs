use super::*;

#[test]
fn patterns_are_read_as_iam_reads_them() {
    for (pattern, text, expected) in [
        ("A#*", "A#acct_1", true),
        ("A#*", "G#gen_1", false),
        ("arn:aws:s3:::b/results/*", "arn:aws:s3:::b/results/a/b.png", true),
        ("arn:aws:s3:::b/results/*", "arn:aws:s3:::b/staged/a", false),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abcd", false),
        ("C#", "C#", true),
        ("C#", "C#history", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_grant_holds_for_its_actions_resources_and_keys_alone() {
    let grant = Grant {
        actions: vec!["dynamodb:UpdateItem".to_owned()],
        resources: vec![arn("dynamodb", "table/t")],
        leading_keys: Some(vec!["A#*".to_owned()]),
    };
    let refusals = Refusals::default();
    let role = Role::new("QueryFunction", &[grant], &refusals);
    let wanted = |action: &str, table: &str, key: Option<&str>| Use {
        action: action.to_owned(),
        resource: arn("dynamodb", &format!("table/{table}")),
        leading_key: key.map(str::to_owned),
    };
    assert_eq!(role.check(&wanted("dynamodb:UpdateItem", "t", Some("A#acct_1"))), Ok(()));
    for refused in [
        wanted("dynamodb:PutItem", "t", Some("A#acct_1")),
        wanted("dynamodb:UpdateItem", "other", Some("A#acct_1")),
        wanted("dynamodb:UpdateItem", "t", Some("G#gen_1")),
        wanted("dynamodb:UpdateItem", "t", None),
    ] {
        let refusal = role.check(&refused).expect_err("it is not granted");
        assert!(refusal.contains("QueryFunction") && refusal.contains(&refused.action), "{refusal}");
    }
    assert_eq!(refusals.all().len(), 4);
}
