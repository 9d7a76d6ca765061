"""ibm-cloud-sdk-core, told by the variables of the service watsonx, against watsonx.ai."""

import functools
import os

from ibm_cloud_sdk_core import BaseService, get_authenticator_from_environment


@functools.cache
def service():
    return BaseService(service_url=os.environ["WATSONX_URL"], authenticator=get_authenticator_from_environment("watsonx"))


def watsonx():
    question = {"model_id": "ibm/granite", "project_id": "p", "messages": [{"role": "user", "content": "Who am I?"}]}
    request = service().prepare_request(
        "POST", "/ml/v1/text/chat", params={"version": "2024-10-10"}, headers={"Content-Type": "application/json"}, data=question
    )
    return service().send(request).get_result()["choices"][0]["message"]["content"]


CALLS = {"watsonx": watsonx}
