//! What an S3 call takes: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.

use aws_sdk_s3::config::interceptors::{BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadInput;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadInput;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadInput;
use aws_sdk_s3::operation::delete_object::DeleteObjectInput;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsInput;
use aws_sdk_s3::operation::get_object::GetObjectInput;
use aws_sdk_s3::operation::head_object::HeadObjectInput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Input;
use aws_sdk_s3::operation::put_object::PutObjectInput;
use aws_sdk_s3::operation::upload_part::UploadPartInput;

use super::Use;
use crate::template::arn;

/// None: a call that is not on the list.
pub(super) fn uses(context: &BeforeSerializationInterceptorContextRef<'_>) -> Option<Vec<Use>> {
    let input = context.input();
    macro_rules! object {
        ($input:ty, $action:literal) => {
            if let Some(call) = input.downcast_ref::<$input>() {
                return Some(vec![of($action, call.bucket(), call.key())]);
            }
        };
    }
    object!(GetObjectInput, "GetObject");
    object!(HeadObjectInput, "GetObject");
    object!(PutObjectInput, "PutObject");
    object!(CreateMultipartUploadInput, "PutObject");
    object!(UploadPartInput, "PutObject");
    object!(CompleteMultipartUploadInput, "PutObject");
    object!(AbortMultipartUploadInput, "AbortMultipartUpload");
    object!(DeleteObjectInput, "DeleteObject");
    if let Some(call) = input.downcast_ref::<DeleteObjectsInput>() {
        let objects = call.delete().map(|delete| delete.objects()).unwrap_or_default().iter();
        return Some(objects.map(|object| of("DeleteObject", call.bucket(), Some(object.key()))).collect());
    }
    let call = input.downcast_ref::<ListObjectsV2Input>()?;
    Some(vec![of("ListBucket", call.bucket(), None)])
}

/// What it takes to hear that an object is not there: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>. Here buckets
/// are addressed by path.
pub(super) fn listing(context: &FinalizerInterceptorContextRef<'_>) -> Option<Use> {
    let (request, response) = (context.request()?, context.response()?);
    let path = request.uri().splitn(4, '/').nth(3)?;
    let (bucket, key) = path.split('?').next()?.split_once('/')?;
    let is_asked = matches!(request.method(), "GET" | "HEAD") && !key.is_empty();
    (is_asked && response.status().as_u16() == 404).then(|| of("ListBucket", Some(bucket), None))
}

/// Of an object, or of the bucket itself.
fn of(action: &str, bucket: Option<&str>, key: Option<&str>) -> Use {
    let bucket = bucket.unwrap_or_default();
    let resource = key.map_or_else(|| arn("s3", bucket), |key| arn("s3", &format!("{bucket}/{key}")));
    Use { action: format!("s3:{action}"), resource, leading_key: None }
}
