"""`aws.dynamodb.Table`: a table in the stand-in's DynamoDB, which behaves like the provider's resource."""

from standin.api import AwsError, Params
from standin.dynamodb import DynamoDb
from standin.provider import Live, Props


class Table(Live):
    def __init__(self, dynamodb: DynamoDb) -> None:
        self._dynamodb = dynamodb

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        keys = [("hashKey", "HASH"), ("rangeKey", "RANGE")]
        request: Params = {"TableName": inputs["name"], "BillingMode": inputs.get("billingMode", "PROVISIONED")}
        request["KeySchema"] = [
            {"AttributeName": inputs[key], "KeyType": kind} for key, kind in keys if inputs.get(key)
        ]
        request["AttributeDefinitions"] = [
            {"AttributeName": each["name"], "AttributeType": each["type"]} for each in inputs["attributes"]
        ]
        request["DeletionProtectionEnabled"] = inputs.get("deletionProtectionEnabled", False)
        if inputs.get("streamEnabled"):
            request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": inputs["streamViewType"]}
        try:
            made = self._dynamodb.create_table(request)["TableDescription"]
        except AwsError as e:
            raise RuntimeError(f"creating AWS DynamoDB Table ({inputs['name']}): {e}") from None
        return inputs["name"], _outputs(made)

    def update(self, id: str, olds: Props, news: Props) -> Props:
        protected = news.get("deletionProtectionEnabled", False)
        changed = self._dynamodb.update_table({"TableName": id, "DeletionProtectionEnabled": protected})
        return _outputs(changed["TableDescription"])

    def read(self, id: str, inputs: Props) -> Props | None:
        try:
            found = self._dynamodb.describe_table({"TableName": id})["Table"]
        except AwsError:
            return None
        return _outputs(found) | {"deletionProtectionEnabled": found["DeletionProtectionEnabled"]}

    def delete(self, id: str, state: Props) -> None:
        """The provider calls DeleteTable, which DynamoDB refuses while the table is protected."""
        try:
            self._dynamodb.delete_table({"TableName": id})
        except AwsError as e:
            if e.code != "ResourceNotFoundException":
                raise RuntimeError(f"deleting AWS DynamoDB Table ({id}): {e}") from None


def _outputs(shown: Params) -> Props:
    stream = {"streamArn": shown.get("LatestStreamArn", ""), "streamLabel": shown.get("LatestStreamLabel", "")}
    return {"arn": shown["TableArn"], **(stream if stream["streamArn"] else {})}
