"""Lambda's API of functions, as far as a function uses it on itself.

https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html
"""

from standin.api import ACCOUNT, REGION, AwsError, Params
from standin.lambdas import FUNCTION
from standin.provider import Aws


class Functions:
    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def get_function_configuration(self, params: Params) -> Params:
        """The configuration of the function as deployed now, which a process that runs it may not have yet."""
        name = params["FunctionName"].rpartition(":function:")[2].partition(":")[0]
        for found in list(self._aws.resources.values()):
            if found.type == FUNCTION and found.inputs["name"] == name:
                variables = found.inputs.get("environment", {}).get("variables", {})
                return {
                    "FunctionName": name,
                    "FunctionArn": found.outputs["arn"],
                    "Role": found.inputs["role"],
                    "Handler": found.inputs["handler"],
                    "Timeout": int(found.inputs.get("timeout", 3)),
                    "LastModified": found.outputs["lastModified"],
                    "Environment": {"Variables": variables},
                }
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404)
