//! What is left: everything in the table and in the bucket, past every API.

use crate::{Wire, World};

impl World {
    /// Every item of the table, as one text.
    pub async fn whole_table(&self) -> String {
        let client = self.another_client(&Wire::default());
        let (mut text, mut start) = (String::new(), None);
        loop {
            let scan = client.scan().table_name(&self.stack.backend.config.table).set_exclusive_start_key(start);
            let page = scan.send().await.expect("the table answers");
            for item in page.items.unwrap_or_default() {
                text.push_str(&format!("{item:?}\n"));
            }
            match page.last_evaluated_key {
                Some(next) => start = Some(next),
                None => return text,
            }
        }
    }

    /// The keys of all objects in the bucket.
    pub async fn whole_bucket(&self) -> Vec<String> {
        let client = shared::backend::s3_client(&local::engines::sdk(&self.stack.s3.endpoint_url));
        let list = client.list_objects_v2().bucket(&self.stack.backend.config.bucket);
        let page = list.send().await.expect("S3 answers");
        assert_ne!(page.is_truncated, Some(true), "more objects than any test makes");
        page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect()
    }

    /// Lets minutes pass until no object's key has this in it.
    pub async fn until_nothing_is_left(&self, part: &str) {
        for _ in 0..600 {
            if !self.whole_bucket().await.iter().any(|key| key.contains(part)) {
                return;
            }
            self.minute().await;
        }
        panic!("ten hours passed in vain; there is {:#?}", self.whole_bucket().await);
    }

    /// The same for an asset: it is erased, and its object is gone.
    pub async fn until_nothing_is_left_of(&self, asset: &str) {
        self.until_nothing_is_left(asset).await;
        assert_eq!(self.get(&format!("/v1/assets/{asset}")).await.body["status"], "erased");
    }
}
