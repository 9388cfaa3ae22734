//! What SDKs send arrives as it was sent, over every protocol and compression that they offer.

mod python {
    use crate::sdk::Sdk::Python;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip", "deflate"] {
            Python.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_http_in_json() {
        for compression in ["none", "gzip", "deflate"] {
            Python.arrives_as_it_was_sent("http/json", compression).await;
        }
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        Python.tries_again().await;
    }
}

mod go {
    use crate::sdk::Sdk::Go;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Go.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        Go.tries_again().await;
    }
}

mod node {
    use crate::sdk::Sdk::Node;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Node.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn over_http_in_json() {
        for compression in ["none", "gzip"] {
            Node.arrives_as_it_was_sent("http/json", compression).await;
        }
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        Node.tries_again().await;
    }
}

mod java {
    use crate::sdk::Sdk::Java;

    #[tokio::test]
    async fn over_http_in_protobuf() {
        for compression in ["none", "gzip"] {
            Java.arrives_as_it_was_sent("http/protobuf", compression).await;
        }
    }

    #[tokio::test]
    async fn tries_again_what_was_refused() {
        Java.tries_again().await;
    }
}
